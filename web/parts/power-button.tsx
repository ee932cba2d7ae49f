/** Outlets of the chosen nodes: what runs there is shut down before its power is cut. */

import { type Signal, useSignal } from "@preact/signals";
import type { Node, PowerAnswer } from "#protocol/node.ts";
import { call } from "../api.ts";
import { selectorOf } from "../state/selection.ts";
import { Dialog } from "./dialog.tsx";

const states = { on: "Switch on", off: "Switch off", cycle: "Switch off and on" } as const;
type State = keyof typeof states;

interface PowerProps {
  readonly nodes: readonly Node[];
  readonly toast: Signal<string | undefined>;
}

export function PowerButton({ nodes, toast }: PowerProps) {
  const open = useSignal(false);
  const state = useSignal<State>("on");
  const force = useSignal(false);
  const unplaced = nodes.find((node) => !node.slot);
  const running = nodes.filter(({ connection }) => connection === "online");
  const request = async () => {
    const body = {
      selector: selectorOf(nodes),
      state: state.value,
      ...(state.value !== "on" && { force: force.value }),
    };
    const { items } = await call<{ readonly items: readonly PowerAnswer[] }>(
      "POST",
      "/api/v1/power",
      body,
    );
    const failed = items.find(({ ok }) => !ok);
    if (failed) throw new Error(`${failed.node}: ${failed.reason}`);
    const waits = items.some(({ jobId }) => jobId !== undefined);
    toast.value = waits ? "What runs there is shut down first" : "The power was switched";
    setTimeout(() => {
      toast.value = undefined;
    }, 5000);
  };
  return (
    <>
      <button
        type="button"
        class="button-plain"
        disabled={unplaced !== undefined}
        title={unplaced && `${unplaced.name} is in no slot`}
        onClick={() => {
          open.value = true;
        }}
      >
        Power…
      </button>
      <Dialog
        title="Power"
        open={open}
        actionText={states[state.value]}
        isHarsh={state.value !== "on"}
        action={request}
      >
        <p>{nodes.map((node) => node.name).join(", ")}</p>
        <label class="field">
          <span>Outlet</span>
          <select
            value={state.value}
            onChange={(event) => {
              state.value = event.currentTarget.value as State;
            }}
          >
            {Object.entries(states).map(([name, text]) => (
              <option key={name} value={name}>
                {text}
              </option>
            ))}
          </select>
        </label>
        {state.value !== "on" && running.length > 0 && (
          <label class="check">
            <input
              type="checkbox"
              checked={force.value}
              onChange={(event) => {
                force.value = event.currentTarget.checked;
              }}
            />{" "}
            cut the power at once: what runs on {running.length} of them is not shut down first
          </label>
        )}
      </Dialog>
    </>
  );
}
