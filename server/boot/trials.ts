/**
 * The one boot in which a Raspberry Pi tries a system that its own boot partition does not boot yet.
 *
 * An update has written the other root slot; the board comes back to its network boot, and is given
 * that slot's kernel, device tree and command line as files. What it boots next is its card again, the
 * old system, unless the new one has confirmed itself there meanwhile.
 *
 *   DHCP, start4.elf, config.txt …  kernel (written down: it is being tried) …  | DHCP: another boot
 *
 * The kernel may be looked at before it is fetched, and config.txt read again after it, so neither
 * tells where a boot ends. What does is DHCP, and a first stage (a Raspberry Pi 5 fetches none).
 *
 * A server that was killed after it gave the kernel does not go on with that boot: the board then
 * starts its card, and the update ends as one that did not work. Two boots are never given.
 */

import type { ImageDigest, MacAddress, TaskId } from "#protocol/brand.ts";
import type { Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { otherSlot } from "#protocol/root-slots.ts";
import { piCommandLine } from "../../images/pi-boot.ts";
import type { Store } from "../store/store.ts";

/** `stage`: what runs before config.txt is read for the first time. */
export type TrialFile = "stage" | "kernel" | "other";

export interface Trial {
  /** With the system's boot files. */
  readonly directory: string;
  readonly commandLine: string;
  /**
   * Whether the node may still have such a file. Durable when it returns: a kernel is given in one
   * boot only.
   */
  mayHave(file: TrialFile): boolean;
}

export interface Trials {
  /** Undefined: what `task` wrote cannot be given to this node. */
  of(node: Node, task: Task): Trial | undefined;
  /** A firmware with this address was heard by DHCP: a boot begins. */
  bootBegins(mac: MacAddress): void;
}

export interface TrialsContext {
  readonly store: {
    readonly tasks: Pick<Store["tasks"], "put">;
    readonly jobs: Pick<Store["jobs"], "get">;
  };
  /** Where the boot files of an image for a Raspberry Pi lie. */
  readonly bootFilesOf: (image: ImageDigest) => string;
}

export function createTrials({ store, bootFilesOf }: TrialsContext): Trials {
  /** Whose kernel was given by this process, in a boot that may still ask for more. */
  const underway = new Map<MacAddress, TaskId>();

  const mayHave = (mac: MacAddress, task: Task, file: TrialFile): boolean => {
    if (!task.isTried) {
      if (file !== "kernel") return true;
      store.tasks.put({ ...task, isTried: true });
      underway.set(mac, task.id);
      return true;
    }
    if (file === "stage") underway.delete(mac);
    return underway.get(mac) === task.id;
  };

  return {
    bootBegins: (mac) => void underway.delete(mac),
    of({ mac, installedDisk }, task) {
      const job = store.jobs.get(task.jobId);
      const { roots, active } = installedDisk?.slots ?? {};
      if (job?.kind !== "update" || !roots || !active) return undefined;
      const slot = otherSlot(active);
      return {
        directory: bootFilesOf(job.parameters.image),
        commandLine: piCommandLine(roots[slot], slot),
        mayHave: (file) => mayHave(mac, task, file),
      };
    },
  };
}
