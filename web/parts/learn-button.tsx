/** Starts learning which node is in which slot. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { LearningPreview } from "#protocol/learning.ts";
import type { Rack } from "#protocol/rack.ts";
import { call } from "../api.ts";
import { Dialog } from "./dialog.tsx";

export function LearnButton({ rack }: { rack: Rack }) {
  const open = useSignal(false);
  const force = useSignal(false);
  const told = useSignal<string | undefined>(undefined);
  const request = { rack: rack.name, force: force.value };
  useEffect(() => {
    if (!open.value) return;
    call<LearningPreview>("POST", "/api/v1/learnings", { ...request, dryRun: true }).then(
      (preview) => {
        told.value = textOf(preview);
      },
      (error: unknown) => {
        told.value = error instanceof Error ? error.message : String(error);
      },
    );
  }, [open.value, force.value, rack.name]);
  return (
    <>
      <button
        type="button"
        class="button-quiet"
        onClick={() => {
          open.value = true;
        }}
      >
        Learn…
      </button>
      <Dialog
        title={`Learn rack ${rack.name}`}
        open={open}
        actionText="Switch off and learn"
        isHarsh
        word={rack.name}
        action={() => call("POST", "/api/v1/learnings", request)}
      >
        <p>
          The whole rack is switched off. Then one outlet after the other gets power, to hear which
          boards ask for an address. At the end all are switched on, and what could not be told is
          listed.
        </p>
        {told.value !== undefined && <p class="quiet">{told.value}</p>}
        <label>
          <input
            type="checkbox"
            checked={force.value}
            onChange={(event) => {
              force.value = event.currentTarget.checked;
            }}
          />{" "}
          Although installed nodes run
        </label>
      </Dialog>
    </>
  );
}

function textOf({ outlets, slots, nodes, secondsAtMost }: LearningPreview): string {
  const minutes = Math.ceil(secondsAtMost / 60);
  return `Outlets: ${outlets.length}, slots: ${slots}, nodes that lose their power: ${nodes.length}. At most ${minutes} minutes, if no board is ever heard.`;
}
