/** Starts learning which node is in which slot. */

import { useSignal } from "@preact/signals";
import type { Rack } from "#protocol/rack.ts";
import { call } from "../api.ts";
import { Dialog } from "./dialog.tsx";

export function LearnButton({ rack }: { rack: Rack }) {
  const open = useSignal(false);
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
        action={() => call("POST", "/api/v1/learnings", { rack: rack.name })}
      >
        <p>
          The whole rack is switched off. Then one outlet after the other gets power, to hear which
          boards ask for an address. At the end all are switched on, and what could not be told is
          listed.
        </p>
      </Dialog>
    </>
  );
}
