/** When a job begins and how it goes through its nodes: closed until somebody wants more than "now, all". */

import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Window } from "#protocol/schedule.ts";
import { call } from "../api.ts";
import { SelectField, TextField } from "./field.tsx";

export interface PlanForm {
  readonly window: Signal<string>;
  readonly canary: Signal<string>;
  readonly batch: Signal<string>;
  readonly failures: Signal<string>;
  readonly health: Signal<string>;
}

export function usePlanForm(): PlanForm {
  return {
    window: useSignal(""),
    canary: useSignal(""),
    batch: useSignal(""),
    failures: useSignal(""),
    health: useSignal(""),
  };
}

export interface Plan {
  readonly when?: { readonly window: string };
  readonly rollout?: object;
}

/** Members of the request for a job; the server says what is wrong with them. */
export function planOf({ window, canary, batch, failures, health }: PlanForm): Plan {
  const checks = health.value.split(",").flatMap((one) => one.trim() || []);
  const numbers = Object.fromEntries(
    Object.entries({ canary, batch, failures }).flatMap(([member, { value }]) => {
      const text = value.trim();
      if (text === "") return [];
      return [[member, /^\d+$/.test(text) ? Number(text) : text] as const];
    }),
  );
  const rollout = { ...numbers, ...(checks.length > 0 && { health: checks }) };
  return {
    ...(window.value !== "" && { when: { window: window.value } }),
    ...(Object.keys(rollout).length > 0 && { rollout }),
  };
}

export function PlanFields({ form }: { form: PlanForm }) {
  const windows = useSignal<readonly Window[]>([]);
  useEffect(() => {
    const read = async () => {
      const { items } = await call<{ items: readonly Window[] }>("GET", "/api/v1/windows");
      windows.value = items.filter(({ effect }) => effect === "allows");
    };
    read().catch(() => {
      windows.value = []; // "at once" is all there is then
    });
  }, [windows]);
  return (
    <details>
      <summary>When, and how many at a time</summary>
      <SelectField
        text="Begin"
        value={form.window}
        options={[
          ["", "at once"] as const,
          ...windows.value.map(
            ({ name, opens, zone }) => [name, `in window ${name} (${opens}, ${zone})`] as const,
          ),
        ]}
      />
      <TextField text="Nodes that go first, alone" value={form.canary} />
      <TextField text="Nodes at a time, or a part of all: 25%" value={form.batch} />
      <TextField text="Nodes that may fail before the rest is paused" value={form.failures} />
      <TextField
        text="What each must pass afterwards: online, port:22, http:80/ready, a command"
        value={form.health}
      />
    </details>
  );
}
