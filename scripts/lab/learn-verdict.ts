/** What a server found out about a simulated rack, compared with the truth. Pure. */

import type { Flag, LearningStatus } from "#protocol/learning.ts";
import type { Node } from "#protocol/node.ts";
import { outletFaults } from "./simulated-outlet.ts";
import { boardFaults, type RackBoard } from "./simulated-rack.ts";

/** The truth about a board. */
export type JudgedBoard = Omit<RackBoard, "board"> & { readonly board: { readonly mac: string } };

export interface Findings {
  readonly status: LearningStatus;
  readonly nodes: readonly Pick<Node, "mac" | "slot">[];
}

export interface LearnResult {
  /** Those on outlets of the rack. */
  readonly boards: number;
  /** In their slot; where a stack has one outlet, in their stack. */
  readonly right: number;
  readonly wrong: number;
  readonly flagged: readonly {
    readonly mac: string | null;
    readonly stack: string | null;
    readonly reason: string;
  }[];
  readonly seconds: number;
}

export interface Verdict {
  readonly result: LearnResult;
  /** What is not as it must be, for people; empty: everything is. */
  readonly problems: readonly string[];
}

export interface Cabling {
  /** Every slot has an outlet of its own, so that its board is known exactly. */
  readonly perSlotOutlets: boolean;
  /** Outlets tell what their contacts do; else nobody can say what is wrong with one. */
  readonly senses: boolean;
}

export function judge(
  boards: readonly JudgedBoard[],
  findings: Findings,
  cabling: Cabling,
  seconds: number,
): Verdict {
  const slots = new Map(findings.nodes.map(({ mac, slot }) => [String(mac), slot]));
  const problems: string[] = [];
  let right = 0;
  let wrong = 0;
  for (const one of boards) {
    const found = slots.get(one.board.mac);
    if (!found) {
      if (canBePlaced(one)) problems.push(`${nameOf(one)} has no slot`);
    } else if (one.place && isPlace(found, one.place, cabling)) right += 1;
    else {
      wrong += 1;
      problems.push(`${nameOf(one)} was placed in ${found.stack}/${found.slot}`);
    }
  }
  const flags = findings.status.flagged;
  problems.push(...unflagged(boards, flags, cabling), ...untrue(boards, flags, cabling));
  if (findings.status.state !== "done") {
    problems.push(`learning ${findings.status.state}: ${findings.status.reason ?? ""}`);
  }
  return {
    result: {
      boards: boards.filter(({ place }) => place).length,
      ...{ right, wrong },
      flagged: flags.map((flag) => ({
        mac: flag.mac ?? null,
        stack: stackOf(flag) ?? null,
        reason: flag.reason,
      })),
      seconds,
    },
    problems,
  };
}

/** A board that speaks where an outlet obeys. */
function canBePlaced({ place, fault, outletFault }: JudgedBoard): boolean {
  const obeys = outletFault === undefined || outletFault === "bouncing";
  return place !== undefined && fault !== "dead" && obeys;
}

function isPlace(
  found: { readonly stack: string; readonly slot: string },
  place: { readonly stack: string; readonly slot: string },
  { perSlotOutlets }: Cabling,
): boolean {
  return found.stack === place.stack && (!perSlotOutlets || found.slot === place.slot);
}

function unflagged(
  boards: readonly JudgedBoard[],
  flags: readonly Flag[],
  cabling: Cabling,
): readonly string[] {
  return boards.flatMap((one) => {
    const reason = (cabling.senses ? one.outletFault : undefined) ?? one.fault;
    const isFlagged = flags.some((flag) => flag.reason === reason && isAbout(flag, one, cabling));
    return reason === undefined || isFlagged ? [] : [`${nameOf(one)} was not flagged as ${reason}`];
  });
}

const faultReasons: ReadonlySet<string> = new Set([...boardFaults, ...outletFaults]);

/** Flags for faults that nobody of those they are about has. */
function untrue(
  boards: readonly JudgedBoard[],
  flags: readonly Flag[],
  cabling: Cabling,
): readonly string[] {
  return flags
    .filter(({ reason }) => faultReasons.has(reason))
    .filter(
      (flag) =>
        !boards.some(
          (one) => isAbout(flag, one, cabling) && looksOf(one, cabling).includes(flag.reason),
        ),
    )
    .map((flag) => `flagged without being so: ${flag.reason} ${stackOf(flag) ?? ""} ${flag.text}`);
}

/** What a board may be taken for. One that is never off cannot be told from a foreign one. */
function looksOf({ fault, outletFault }: JudgedBoard, { senses }: Cabling): readonly string[] {
  const own = outletFault ?? fault;
  const isNeverOff = outletFault === "stuck-on" || outletFault === "inverted";
  return [
    ...(own === undefined ? [] : [own]),
    ...(isNeverOff ? ["foreign"] : []),
    ...(outletFault !== undefined && !senses ? ["dead", "late"] : []),
  ];
}

function isAbout(flag: Flag, { place, board }: JudgedBoard, cabling: Cabling): boolean {
  if (flag.mac !== undefined) return flag.mac === board.mac;
  if (place === undefined || stackOf(flag) !== place.stack) return false;
  return flag.slot === undefined || !cabling.perSlotOutlets || flag.slot.slot === place.slot;
}

function stackOf({ stack, slot }: Flag): string | undefined {
  return stack ?? slot?.stack;
}

function nameOf({ board, place, fault, outletFault }: JudgedBoard): string {
  const where = place ? `${place.stack}/${place.slot}` : "foreign";
  const what = outletFault ?? fault;
  return `${board.mac} (${where}${what === undefined ? "" : `, ${what}`})`;
}
