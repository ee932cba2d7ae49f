/**
 * The moments of an install at which its node loses its power, in the order in which they come,
 * and by what each of them is recognised: what stands on the node's console, what the server
 * heard, or what is on the disk. Nothing here waits or cuts (cut-install.ts).
 */

import type { DomainEvent } from "#protocol/events.ts";
import type { InstallDisk, WrittenShare } from "./install-disk.ts";

export const cutMoments = [
  "rom",
  "boot-files",
  "kernel",
  "agent-start",
  "enrol",
  "wipe",
  "write-1",
  "write-25",
  "write-50",
  "write-99",
  "verify",
  "commit",
  "final-message",
  "reboot",
] as const;
export type CutMoment = (typeof cutMoments)[number];

type Sign =
  | { readonly console: RegExp }
  | { readonly event: (event: DomainEvent, mac: string) => boolean }
  | { readonly disk: (disk: Pick<InstallDisk, "isWiped" | "holds">) => boolean };

export type Moment = Sign & {
  /** The cut comes at any time within so many milliseconds of the sign. */
  readonly withinMs: number;
  /** The agent's work is lost: what follows is another attempt. */
  readonly costsAttempt: boolean;
};

const firmwareSays =
  (message: "discover" | "request"): ((event: DomainEvent, mac: string) => boolean) =>
  (event, mac) =>
    event.topic === "dhcp" &&
    event.mac === mac &&
    event.message === message &&
    event.firmware !== undefined;

const written = (share: WrittenShare): Moment => ({
  disk: (disk) => disk.holds(share),
  withinMs: 0,
  costsAttempt: true,
});

/** Times are those of an emulated machine on a quiet processor: each is well within what it names. */
export const moments: Readonly<Record<CutMoment, Moment>> = {
  rom: { event: firmwareSays("discover"), withinMs: 500, costsAttempt: false },
  // From its lease on a firmware fetches: TFTP, or HTTP where its ROM is iPXE.
  "boot-files": { event: firmwareSays("request"), withinMs: 2000, costsAttempt: false },
  kernel: { console: /\] Linux version /, withinMs: 4000, costsAttempt: false },
  "agent-start": { console: /marcoboot: starting the agent/, withinMs: 5000, costsAttempt: false },
  // The token is used up, and its answer may never have come.
  enrol: {
    event: (event, mac) =>
      event.topic === "enrolment" && event.mac === mac && event.outcome === "accepted",
    ...{ withinMs: 200, costsAttempt: true },
  },
  wipe: { disk: (disk) => disk.isWiped(), withinMs: 20, costsAttempt: true },
  "write-1": written(1),
  "write-25": written(25),
  "write-50": written(50),
  "write-99": written(99),
  verify: { console: /marcoboot: install: verifying/, withinMs: 3000, costsAttempt: true },
  commit: { console: /marcoboot: install: committing/, withinMs: 100, costsAttempt: true },
  // Whether the server has it by then decides whether it was for nothing.
  "final-message": {
    console: /marcoboot: installed; waiting to be restarted/,
    ...{ withinMs: 200, costsAttempt: true },
  },
  // On a busy machine a serial line may lose octets: either of the two will do.
  reboot: {
    console: /reboot: Restarting system|Preparing to enter system sleep state S5/,
    ...{ withinMs: 2000, costsAttempt: false },
  },
};

/** After these the node may boot its disk, and nothing that comes before them comes again. */
const last: readonly CutMoment[] = ["final-message", "reboot"];

/**
 * Which moments one install is cut at, one after the other, so that its attempts suffice: all of
 * them in as few installs as can be. Those that cost no attempt are spread, as the time that an
 * attempt gives a node to boot has to suffice too.
 *
 * @param wanted - in the order in which they come
 * @param attempts - of a task
 */
export function dealMoments(
  wanted: readonly CutMoment[],
  attempts: number,
): readonly (readonly CutMoment[])[] {
  const installs: CutMoment[][] = [];
  for (const moment of wanted.filter((one) => moments[one].costsAttempt)) {
    const open = installs.at(-1);
    if (open && open.length < attempts - 1) open.push(moment);
    else installs.push([moment]);
  }
  for (const moment of wanted.filter((one) => !moments[one].costsAttempt)) {
    const [least] = installs
      .filter((install) => !last.includes(moment) || !install.some((one) => last.includes(one)))
      .toSorted((one, other) => one.length - other.length);
    if (least) least.push(moment);
    else installs.push([moment]);
  }
  return installs.map((install) => wanted.filter((one) => install.includes(one)));
}
