/**
 * D37, D38: an update from the request to the new system's confirmation, with a server that is killed
 * before and after each of its commits, and with a disk that refuses each commit once. The node keeps
 * a system that boots, and the slot that was tried is never written again.
 */

import test, { type ExecutionContext } from "ava";
import { parseImageDigest, type TaskId } from "#protocol/brand.ts";
import type { Image } from "#protocol/image.ts";
import type { InstalledDisk } from "#protocol/node.ts";
import type { RootSlot } from "#protocol/root-slots.ts";
import { decideBootTarget } from "../../server/boot/target.ts";
import { settle } from "../support/manual-clock.ts";
import { type Agent, tryEachCommit } from "./mortal-run.ts";
import { address, digest, image, type Rig } from "./rig.ts";

const old = parseImageDigest("01".repeat(32));
const mebibyte = 1 << 20;
const tree: Image = { ...image, format: "rootfs-tar", sizeBytes: 300 * mebibyte };
const installedDisk: InstalledDisk = {
  name: "vda",
  contentsId: "gpt:1",
  slots: { active: "a", rootBytes: 640 * mebibyte, data: "/srv", bootloader: "grub" },
};
const stages = ["preparing", "writing", "verifying", "configuring", "committing"] as const;

interface UpdatedAgent extends Agent {
  /** The slot its boot loader starts by itself. */
  readonly active: RootSlot;
  /** Times a slot was written that had been started already. */
  readonly overwritten: number;
}

/** A node with two root slots, whose boot loader tries the other one once when netinst said so. */
function createAgent(): UpdatedAgent {
  let boot = 0;
  let running: RootSlot | "netinst" = "a";
  let active: RootSlot = "a";
  let isTrialDue = false;
  let wasTried = false;
  let overwritten = 0;
  let at = 0;
  let writtenBy: TaskId | undefined;
  const restarts: string[] = [];

  /** What the server's boot files and then the boot loader make of a restart. */
  const restart = ({ node, store }: Rig): void => {
    boot += 1;
    at = 0;
    if (decideBootTarget(node, store.tasks.unfinishedOf(node.id)) === "netinst") {
      running = "netinst";
      return;
    }
    running = isTrialDue ? "b" : active;
    wasTried ||= isTrialDue;
    isTrialDue = false;
  };
  const call = async (rig: Rig): Promise<void> => {
    const session = {
      ...{ version: "0.1.0", uptimeSeconds: 1, usedMemoryMiB: 1, bootId: `boot-${boot}` },
      hostname: "lab-a-1",
    };
    if (running === "netinst")
      rig.nodes.checkIn(rig.node.id, { ...session, role: "netinst" }, address);
    else {
      const isNew = running === "b";
      const system = {
        image: isNew ? digest : old,
        madeBy: (isNew ? writtenBy : undefined) ?? ("task_old" as TaskId),
        slot: running,
      };
      rig.nodes.checkIn(rig.node.id, { ...session, role: "resident", system }, address);
    }
    await settle();
  };
  const live = async (rig: Rig): Promise<void> => {
    await call(rig);
    const order = rig.order();
    const bootId = `boot-${boot}`;
    if (order?.action === "reboot") {
      restarts.push(`${order.epoch} ${running === "netinst" ? "out of" : "into"} netinst`);
      restart(rig);
    } else if (order?.action === "update") {
      if (wasTried) overwritten += 1;
      const isDone = at >= stages.length;
      if (isDone) {
        isTrialDue = true;
        writtenBy = order.taskId;
      }
      const stage = stages[at] ?? "committing";
      await rig.report({ bootId, stage, percent: 50, status: isDone ? "done" : "running" });
      at += 1;
    } else if (order?.action === "confirm") {
      active = "b";
      await rig.report({ bootId, stage: "confirming", status: "done" });
    }
  };
  return {
    restarts,
    image: tree,
    get active() {
      return active;
    },
    get overwritten() {
      return overwritten;
    },
    async prepare(rig) {
      rig.nodes.update(rig.node.id, { state: "installed", image: old, installedDisk });
      await live(rig);
    },
    ask: (rig) => rig.create({ kind: "update", parameters: { image: digest, keep: ["/var/own"] } }),
    live,
  };
}

function tryUpdates(t: ExecutionContext, when: "before" | "after" | "refused") {
  return tryEachCommit(t, when, createAgent, ({ agent, task, node, where }) => {
    t.is(task?.state, "done", where);
    t.is(agent.active, "b", where);
    t.is(agent.overwritten, 0, where);
    t.like(
      node,
      { state: "installed", image: digest, installedDisk: { slots: { active: "b" } } },
      where,
    );
  });
}

for (const when of ["before", "after"] as const) {
  test(`D37: the server killed ${when} each commit of an update: the new system is confirmed, tried once`, async (t) => {
    const { deaths } = await tryUpdates(t, when);
    t.true(deaths > 12, `${deaths}`);
  });
}

test("D38: a disk that refuses any one commit of an update: it goes on, or the next attempt does", async (t) => {
  const { refusals } = await tryUpdates(t, "refused");
  t.true(refusals > 5, `${refusals}`);
});
