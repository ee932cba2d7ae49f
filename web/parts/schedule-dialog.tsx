/** A schedule: a new one, or changed as it was read. What a job of it does is given once, when it is made. */

import { useSignal } from "@preact/signals";
import type { Image } from "#protocol/image.ts";
import type { Schedule } from "#protocol/schedule.ts";
import { callTagged } from "../api.ts";
import type { Planned } from "../state/planned.ts";
import { Dialog } from "./dialog.tsx";
import { SelectField, TextField } from "./field.tsx";
import { PlanFields, type PlanForm, planOf, usePlanForm } from "./plan-fields.tsx";

/** Kinds that need no more than the form has; the others are for the command line. */
const kinds = ["reboot", "shutdown", "install", "inventory", "power-on", "power-off"] as const;
const rolloutMembers = ["canary", "batch", "failures", "health"] as const;

interface ButtonProps {
  readonly planned: Planned;
  readonly images: readonly Image[];
  /** Of the one to change; undefined: a new one. */
  readonly name?: string;
}

export function ScheduleButton({ planned, images, name }: ButtonProps) {
  const open = useSignal(false);
  const before = useSignal<{ value: Schedule; tag: string } | undefined>(undefined);
  const plan = usePlanForm();
  const form = {
    name: useSignal(""),
    kind: useSignal<string>("reboot"),
    image: useSignal(""),
    selector: useSignal(""),
    at: useSignal(""),
    zone: useSignal(planned.viewersZone),
    missed: useSignal<string>("skip"),
    overlap: useSignal<string>("skip"),
  };
  const pathOf = (of: string) => `/api/v1/schedules/${encodeURIComponent(of)}`;
  const begin = async () => {
    if (name !== undefined) {
      const found = await callTagged<Schedule>("GET", pathOf(name));
      before.value = found;
      for (const member of ["selector", "at", "zone", "missed", "overlap"] as const) {
        form[member].value = found.value[member];
      }
      fill(plan, found.value);
    } else if (form.image.value === "") {
      form.image.value = images[0]?.name ?? "";
    }
    open.value = true;
  };
  const keep = async () => {
    const { selector, at, zone, missed, overlap } = form;
    const members = {
      ...{ selector: selector.value, at: at.value, zone: zone.value },
      ...{ missed: missed.value, overlap: overlap.value },
    };
    if (name === undefined) {
      const kind = form.kind.value;
      const parameters = kind === "install" ? { image: form.image.value } : {};
      const { when, rollout } = planOf(plan);
      const body = { ...members, kind, parameters, ...when, ...(rollout && { rollout }) };
      await callTagged("PUT", pathOf(form.name.value.trim()), body);
    } else {
      const body = { ...members, ...planPatch(plan, before.value?.value) };
      await callTagged("PATCH", pathOf(name), body, before.value?.tag);
    }
    await planned.read();
  };
  return (
    <>
      <button
        type="button"
        class="button-quiet"
        aria-label={name === undefined ? "Add a schedule" : `Change ${name}`}
        onClick={() => void planned.attempt(begin)}
      >
        {name === undefined ? "Add a schedule…" : "Change…"}
      </button>
      <Dialog
        title={name === undefined ? "A new schedule" : `Schedule ${name}`}
        open={open}
        actionText="Keep"
        action={keep}
      >
        {name === undefined && (
          <>
            <TextField text="Name" value={form.name} isNeeded />
            <SelectField
              text="What it does"
              value={form.kind}
              options={kinds.map((kind) => [kind, kind] as const)}
            />
          </>
        )}
        {name === undefined && form.kind.value === "install" && (
          <SelectField
            text="Image"
            value={form.image}
            options={images.map((image) => [image.name, image.name] as const)}
          />
        )}
        <TextField
          text="Nodes"
          hint="rack:lab, stack:lab/a, tag:web"
          value={form.selector}
          isNeeded
        />
        <TextField
          text="When"
          hint="sun 03:00, daily 02:00, 0 3 * * 2#2"
          value={form.at}
          isNeeded
        />
        <TextField text="Time zone" hint="Europe/Madrid, UTC" value={form.zone} isNeeded />
        <SelectField
          text="If the server was off then"
          value={form.missed}
          options={[
            ["skip", "leave it out"],
            ["run-once", "make up for it once"],
          ]}
        />
        <SelectField
          text="If the last job has not ended"
          value={form.overlap}
          options={[
            ["skip", "leave it out"],
            ["queue", "wait behind it"],
          ]}
        />
        <PlanFields form={plan} />
      </Dialog>
    </>
  );
}

function fill(plan: PlanForm, { window, rollout }: Schedule): void {
  plan.window.value = window ?? "";
  for (const member of rolloutMembers) plan[member].value = String(rollout?.[member] ?? "");
}

/** As a merge patch: what was emptied goes, what the form does not show stays. */
function planPatch(plan: PlanForm, before: Schedule | undefined): object {
  const { when, rollout } = planOf(plan);
  const emptied = Object.fromEntries(rolloutMembers.map((member) => [member, null]));
  return {
    window: when?.window ?? null,
    ...(rollout && { rollout: { ...emptied, ...rollout } }),
    ...(!rollout && before?.rollout && { rollout: null }),
  };
}
