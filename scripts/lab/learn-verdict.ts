/** What a server found out about a simulated rack, compared with the truth. Pure. */

import type { Flag, LearningStatus } from "#protocol/learning.ts";
import type { Node } from "#protocol/node.ts";
import type { RackBoard } from "./simulated-rack.ts";

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

/** @param perSlot - every slot has an outlet of its own, so that its board is known exactly */
export function judge(
  boards: readonly JudgedBoard[],
  findings: Findings,
  perSlot: boolean,
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
    } else if (one.place && isPlace(found, one.place, perSlot)) right += 1;
    else {
      wrong += 1;
      problems.push(`${nameOf(one)} was placed in ${found.stack}/${found.slot}`);
    }
  }
  const flags = findings.status.flagged;
  for (const one of boards) {
    const reason = one.outletFault ?? one.fault;
    if (
      reason === undefined ||
      flags.some((flag) => flag.reason === reason && isAbout(flag, one))
    ) {
      continue;
    }
    problems.push(`${nameOf(one)} was not flagged as ${reason}`);
  }
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
  perSlot: boolean,
): boolean {
  return found.stack === place.stack && (!perSlot || found.slot === place.slot);
}

function isAbout(flag: Flag, { place, board }: JudgedBoard): boolean {
  if (flag.mac !== undefined && flag.mac === board.mac) return true;
  return place !== undefined && stackOf(flag) === place.stack;
}

function stackOf({ stack, slot }: Flag): string | undefined {
  return stack ?? slot?.stack;
}

function nameOf({ board, place, fault, outletFault }: JudgedBoard): string {
  const where = place ? `${place.stack}/${place.slot}` : "foreign";
  const what = outletFault ?? fault;
  return `${board.mac} (${where}${what === undefined ? "" : `, ${what}`})`;
}
