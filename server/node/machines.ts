/** A node's machine as the journal keeps it: what it has lost since its boot before, and which disks are protected. */

import type { Hardware, Node } from "#protocol/node.ts";
import { createAudit } from "../audit/audit.ts";
import type { Clock } from "../clock.ts";
import type { EventBus } from "../events.ts";
import type { Store } from "../store/store.ts";
import { hardwareChanges } from "./hardware-changes.ts";

export interface Machines {
  /** What is different goes into the audit log, and after the commit to whoever watches. */
  tell(before: Node, after: Node): void;
  /** Which disks are protected is the server's word, whatever the agent says. */
  marked(hardware: Hardware): Hardware;
}

export function createMachines(context: {
  readonly store: Pick<Store, "audit" | "protectedDisks" | "afterCommit">;
  readonly events: Pick<EventBus, "publish">;
  readonly clock: Clock;
}): Machines {
  const { store, events } = context;
  const audit = createAudit(context);
  return {
    tell(before, { id, mac, name, hardware }) {
      if (!before.hardware || !hardware || before.hardware === hardware) return;
      const changes = hardwareChanges(before.hardware, hardware);
      if (changes.length === 0) return;
      const textOf = (some: typeof changes) => some.map(({ text }) => text).join("; ");
      audit.append("server", "node hardware changed", id, textOf(changes));
      const losses = changes.filter(({ isLoss }) => isLoss);
      store.afterCommit(() => {
        events.publish({ topic: "hardware", nodeId: id, mac, changes });
        if (losses.length > 0) {
          events.publish({ topic: "alarm", text: `${name} (${mac}): ${textOf(losses)}` });
        }
      });
    },

    marked: (hardware) => ({
      ...hardware,
      disks: hardware.disks.map(({ protection: _, ...disk }) => {
        const found = disk.serial === undefined ? undefined : store.protectedDisks.get(disk.serial);
        if (!found) return disk;
        const { serial: __, ...protection } = found;
        return { ...disk, protection };
      }),
    }),
  };
}
