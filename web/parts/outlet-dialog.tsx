/** Which outlet feeds a stack or a slot: chosen, tried without switching anything, and kept. */

import { type Signal, useSignal } from "@preact/signals";
import type { Outlet, Rack } from "#protocol/rack.ts";
import { call, callTagged, type Tagged } from "../api.ts";
import {
  type Driver,
  type Field,
  fieldsOf,
  isKept,
  settingsOf,
  type Values,
  valuesOf,
} from "../state/outlet-form.ts";
import type { Site } from "../state/site.ts";
import { Dialog } from "./dialog.tsx";

/** `a` is a stack, `a/1` a slot. */
function outletAt(rack: Rack, place: string): Outlet | undefined {
  const [stackName, slotName] = place.split("/");
  const stack = rack.stacks.find(({ name }) => name === stackName);
  if (slotName === undefined) return stack?.outlet;
  return stack?.slots.find(({ name }) => name === slotName)?.outlet;
}

function placesOf(rack: Rack): readonly { readonly place: string; readonly text: string }[] {
  return rack.stacks.flatMap((stack) => [
    { place: stack.name, text: `stack ${stack.name}, all slots` },
    ...stack.slots.map(({ name }) => ({
      place: `${stack.name}/${name}`,
      text: `slot ${stack.name}/${name}`,
    })),
  ]);
}

/** Settings that are gone are said to be: a merge patch keeps what it does not name. */
function patchOf(place: string, outlet: Outlet | null, before: Outlet | undefined): object {
  const [stack = "", slot] = place.split("/");
  const gone = Object.keys(before?.driver === outlet?.driver ? (before?.settings ?? {}) : {});
  const cleared = Object.fromEntries(gone.map((name) => [name, null]));
  const own = { outlet: outlet && { ...outlet, settings: { ...cleared, ...outlet.settings } } };
  return { stacks: { [stack]: slot === undefined ? own : { slots: { [slot]: own } } } };
}

export function OutletsButton({ rack, site }: { rack: Rack; site: Site }) {
  const open = useSignal(false);
  const found = useSignal<Tagged<Rack> | undefined>(undefined);
  const drivers = useSignal<readonly Driver[]>([]);
  const place = useSignal("");
  const kind = useSignal("");
  const values = useSignal<Values>({});
  const said = useSignal<string | undefined>(undefined);
  const path = `/api/v1/racks/${rack.name}`;

  const show = (chosen: string) => {
    const outlet = found.value && outletAt(found.value.value, chosen);
    const driver = drivers.value.find((one) => one.kind === outlet?.driver);
    place.value = chosen;
    kind.value = driver?.kind ?? "";
    values.value = driver && outlet ? valuesOf(fieldsOf(driver), outlet.settings) : {};
    said.value = undefined;
  };
  const begin = async () => {
    const [read, list] = await Promise.all([
      callTagged<Rack>("GET", path),
      call<{ readonly items: readonly Driver[] }>("GET", "/api/v1/power-drivers"),
    ]);
    found.value = read;
    drivers.value = list.items;
    const places = placesOf(read.value).map((one) => one.place);
    show(places.find((one) => outletAt(read.value, one)) ?? places[0] ?? "");
    open.value = true;
  };

  const driver = drivers.value.find((one) => one.kind === kind.value);
  const before = found.value && outletAt(found.value.value, place.value);
  const kept = before?.driver === kind.value ? before.settings : {};
  const outletSaid = (): Outlet | null =>
    driver
      ? { driver: driver.kind, settings: settingsOf(driver, fieldsOf(driver), values.value, kept) }
      : null;
  const tryIt = async () => {
    said.value = "asking …";
    try {
      const { state } = await call<{ readonly state: string }>(
        "POST",
        "/api/v1/outlet-queries",
        outletSaid(),
      );
      said.value = state === "unknown" ? "it cannot tell its state" : `it answers: ${state}`;
    } catch (error) {
      said.value = error instanceof Error ? error.message : String(error);
    }
  };
  const keep = async () => {
    const patch = patchOf(place.value, outletSaid(), before);
    const changed = await callTagged<Rack>("PATCH", path, patch, found.value?.tag);
    site.keepRack(changed.value);
  };
  return (
    <>
      <button type="button" class="button-quiet" onClick={() => void begin()}>
        Outlets…
      </button>
      <Dialog title={`Outlets of rack ${rack.name}`} open={open} actionText="Keep" action={keep}>
        <label class="field">
          <span>Outlet of</span>
          <select value={place.value} onChange={(event) => show(event.currentTarget.value)}>
            {placesOf(found.value?.value ?? rack).map((one) => (
              <option key={one.place} value={one.place}>
                {one.text}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>Driver</span>
          <select
            value={kind.value}
            onChange={(event) => {
              kind.value = event.currentTarget.value;
              values.value = {};
            }}
          >
            <option value="">no outlet</option>
            {drivers.value.map((one) => (
              <option key={one.kind} value={one.kind}>
                {one.kind}: {one.about}
              </option>
            ))}
          </select>
        </label>
        {driver && (
          <div class="form-rows">
            {fieldsOf(driver).map((field) => (
              <FieldRow
                key={`${kind.value} ${field.name}`}
                field={field}
                values={values}
                isKept={isKept(kept[field.name])}
              />
            ))}
          </div>
        )}
        {driver && (
          <p>
            <button type="button" class="button-quiet" onClick={() => void tryIt()}>
              Test: ask, switch nothing
            </button>{" "}
            <span role="status">{said.value}</span>
          </p>
        )}
      </Dialog>
    </>
  );
}

interface FieldProps {
  readonly field: Field;
  readonly values: Signal<Values>;
  readonly isKept: boolean;
}

function FieldRow(props: FieldProps) {
  const { name, about } = props.field;
  return (
    <p class="field">
      <label for={`outlet-${name}`}>
        {name} <span class="quiet">{about}</span>
      </label>
      <Control {...props} />
    </p>
  );
}

function Control({ field, values, isKept: hasSecret }: FieldProps) {
  const { name, kind, isNeeded, usual, example, minimum, maximum, words } = field;
  const common = {
    id: `outlet-${name}`,
    value: values.value[name] ?? "",
    onInput: (event: { currentTarget: { value: string } }) => {
      values.value = { ...values.value, [name]: event.currentTarget.value };
    },
    required: isNeeded && !hasSecret,
  };
  const placeholder = usual ?? example;
  switch (kind) {
    case "choice":
    case "flag":
      return (
        <select {...common}>
          <option value="">{usual ?? "as the device offers"}</option>
          {(kind === "flag" ? ["true", "false"] : words).map((word) => (
            <option key={word} value={word}>
              {word}
            </option>
          ))}
        </select>
      );
    case "lines":
      return <textarea {...common} rows={3} placeholder={placeholder} spellcheck={false} />;
    case "secret": {
      const hint = hasSecret ? "kept; write to replace it" : undefined;
      return <input {...common} type="password" placeholder={hint} autocomplete="new-password" />;
    }
    case "number":
      return (
        <input
          {...common}
          type="number"
          min={minimum}
          max={maximum}
          step="any"
          placeholder={placeholder}
        />
      );
    case "text":
      return (
        <input
          {...common}
          type="text"
          placeholder={placeholder}
          autocomplete="off"
          spellcheck={false}
        />
      );
    default:
      return kind satisfies never;
  }
}
