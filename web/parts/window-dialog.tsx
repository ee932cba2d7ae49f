/** A maintenance window or a blackout: a new one, or changed as it was read. */

import { useSignal } from "@preact/signals";
import type { Window } from "#protocol/schedule.ts";
import { callTagged } from "../api.ts";
import type { Planned } from "../state/planned.ts";
import { Dialog } from "./dialog.tsx";
import { SelectField, TextField } from "./field.tsx";

/** @param name - of the one to change; undefined: a new one */
export function WindowButton({ planned, name }: { planned: Planned; name?: string }) {
  const open = useSignal(false);
  const tag = useSignal<string | undefined>(undefined);
  const form = {
    name: useSignal(""),
    effect: useSignal("allows"),
    opens: useSignal(""),
    minutes: useSignal("120"),
    zone: useSignal(planned.viewersZone),
  };
  const pathOf = (of: string) => `/api/v1/windows/${encodeURIComponent(of)}`;
  const begin = async () => {
    if (name !== undefined) {
      const found = await callTagged<Window>("GET", pathOf(name));
      tag.value = found.tag;
      for (const member of ["effect", "opens", "minutes", "zone"] as const) {
        form[member].value = String(found.value[member]);
      }
    }
    open.value = true;
  };
  const keep = async () => {
    const body = {
      effect: form.effect.value,
      opens: form.opens.value,
      minutes: Number(form.minutes.value),
      zone: form.zone.value,
    };
    if (name === undefined) await callTagged("PUT", pathOf(form.name.value.trim()), body);
    else await callTagged("PATCH", pathOf(name), body, tag.value);
    await planned.read();
  };
  return (
    <>
      <button
        type="button"
        class="button-quiet"
        aria-label={name === undefined ? "Add a window" : `Change ${name}`}
        onClick={() => void planned.attempt(begin)}
      >
        {name === undefined ? "Add a window…" : "Change…"}
      </button>
      <Dialog
        title={name === undefined ? "A new window" : `Window ${name}`}
        open={open}
        actionText="Keep"
        action={keep}
      >
        {name === undefined && <TextField text="Name" value={form.name} isNeeded />}
        <SelectField
          text="Effect"
          value={form.effect}
          options={[
            ["allows", "jobs that name it begin only inside"],
            ["forbids", "blackout: nothing planned begins inside"],
          ]}
        />
        <TextField
          text="Opens"
          hint="daily 02:00, sat,sun 02:00, 0 2 * * 2#2, 2026-12-24 18:00"
          value={form.opens}
          isNeeded
        />
        <TextField text="Minutes it stays open" value={form.minutes} isNeeded />
        <TextField text="Time zone" hint="Europe/Madrid, UTC" value={form.zone} isNeeded />
      </Dialog>
    </>
  );
}
