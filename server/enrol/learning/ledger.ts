/**
 * What was heard when, and what to do next: pure, from one {@link LearningRecord}
 * to the next.
 *
 *   off -> quiet -> observe each group alone -> observe again who was silent, alone and longer
 *       -> quiet -> wake all: who is heard a second time is placed
 *       -> ports: who was placed tells its own, wake again who hangs elsewhere -> restore
 *
 * A board is believed to hang on an outlet when it was heard in two on-times of
 * that outlet and never while it was off. Until the second time nobody is
 * answered, so a stranger goes on asking, and is heard when nothing is on.
 */

import type {
  LearningGroup,
  LearningRecord,
  LearningStep,
  Seat,
  Sighting,
  Stranger,
} from "#protocol/learning.ts";
import { nameOf } from "./groups.ts";

/** On-times that may end with somebody missing: the first, a long one, one more power cycle. */
const patience = 3;
/** On-times at all: strangers that were taken for boards cost some. */
const maxTries = 6;

/** What a MAC address that speaks now tells of itself. */
export type Heard = Omit<Sighting, "tries" | "late">;

/** Who could be speaking now. */
export type Listening =
  /** Outlets are being switched: nothing can be told. */
  | { readonly kind: "nothing" }
  /** Nobody behind a group that is still to be learned. */
  | { readonly kind: "quiet" }
  | { readonly kind: "group"; readonly index: number }
  | { readonly kind: "wake" };

/** The same record when nothing new was learned. */
export function sight(record: LearningRecord, heard: Heard, listening: Listening): LearningRecord {
  if (isStranger(record, heard.mac) || isThrough(record, heard.mac)) return record;
  const home = record.groups.findIndex((group) => has(group.heard, heard.mac));
  switch (listening.kind) {
    case "nothing":
      return record;
    case "quiet":
      return estrange(record, heard, during(record, home, "every outlet was off"));
    case "wake":
      return home >= 0 ? record : withUnknown(record, heard, "several outlets were on");
    case "group": {
      const group = record.groups[listening.index];
      if (!group) return record;
      if (home < 0 || home === listening.index) return withSighting(record, listening.index, heard);
      return estrange(record, heard, during(record, home, `only ${nameOf(group)} was on`));
    }
  }
}

function during(record: LearningRecord, home: number, when: string): string {
  const group = record.groups[home];
  return group ? `${when}, and with ${nameOf(group)} before` : when;
}

function withSighting(record: LearningRecord, index: number, heard: Heard): LearningRecord {
  const group = record.groups[index];
  if (!group) return record;
  const known = group.heard.find(({ mac }) => mac === heard.mac);
  if (known?.tries.includes(group.tries)) return record;
  const sighting: Sighting = known
    ? { ...known, tries: [...known.tries, group.tries] }
    : { ...heard, tries: [group.tries], ...(group.timedOut > 0 && { late: true }) };
  const others = group.heard.filter(({ mac }) => mac !== heard.mac);
  const list = known
    ? group.heard.map((one) => (one === known ? sighting : one))
    : [...others, sighting];
  return withGroup(record, index, { heard: list });
}

/** It speaks whatever is on: no group's board, now and for the rest of the run. */
function estrange(record: LearningRecord, heard: Heard, when: string): LearningRecord {
  return {
    ...record,
    strangers: [...record.strangers, strangerOf(heard, when)],
    unknown: record.unknown.filter(({ mac }) => mac !== heard.mac),
    groups: record.groups.map((group) =>
      has(group.heard, heard.mac)
        ? {
            ...group,
            heard: group.heard.filter(({ mac }) => mac !== heard.mac),
            seats: group.seats.filter(({ mac }) => mac !== heard.mac),
          }
        : group,
    ),
  };
}

function withUnknown(record: LearningRecord, heard: Heard, when: string): LearningRecord {
  if (has(record.unknown, heard.mac)) return record;
  return { ...record, unknown: [...record.unknown, strangerOf(heard, when)] };
}

function strangerOf({ mac, subnet, port }: Heard, when: string): Stranger {
  return { mac, subnet, during: when, ...(port !== undefined && { port }) };
}

/**
 * The boards a group may get seats for; undefined: there are too many, and none is
 * sure. Of too many, those that come every time are its own: who spoke once may
 * have got its power when another outlet went off.
 */
export function boardsOf({ heard, slots, tries }: LearningGroup): readonly Sighting[] | undefined {
  if (heard.length <= slots.length) return heard;
  const steady = heard.filter((one) => one.tries.includes(tries) && one.tries.includes(tries - 1));
  return steady.length === slots.length ? steady : undefined;
}

/** As many boards as slots. */
export function isComplete(group: LearningGroup): boolean {
  return boardsOf(group)?.length === group.slots.length;
}

/** Nothing more can come in this on-time that would change anything. */
export function isHeardOut(group: LearningGroup): boolean {
  if (isComplete(group)) return true;
  return (
    group.heard.length > group.slots.length &&
    group.heard.filter(({ tries }) => tries.includes(group.tries)).length >= group.slots.length
  );
}

/** It is dark until it was observed once more. */
export function needsTry(group: LearningGroup): boolean {
  if (group.fault || isComplete(group)) return false;
  return group.timedOut < patience && group.tries < maxTries;
}

/** The step after the present one, once it is over and the boards have their seats. */
export function nextStep(record: LearningRecord): LearningStep {
  const waiting = record.groups
    .map((group, index) => ({ group, index }))
    .filter(({ group }) => needsTry(group))
    .sort((a, b) => a.group.tries - b.group.tries || a.index - b.index);
  const [first] = waiting;
  if (first) return { kind: "observe", group: first.index };
  if (record.isQuietDue) return { kind: "quiet" };
  if (record.groups.some(({ seats }) => seats.some(isExpected))) return { kind: "wake" };
  if (record.groups.some((group) => toBeAsked(group).length > 0)) return { kind: "ports" };
  return { kind: "restore", end: "done" };
}

/** Boards that were placed though nothing told their ports: they may hear of them when they have booted. */
export function toBeAsked({ hasPorts, heard, seats }: LearningGroup): readonly Sighting[] {
  if (!hasPorts) return [];
  return heard.filter(
    ({ mac, port, isAsked }) =>
      port === undefined &&
      !isAsked &&
      seats.some((seat) => seat.mac === mac && seat.state === "placed"),
  );
}

/** It has no power, unless it is its turn. */
export function isDark(group: LearningGroup): boolean {
  return !group.fault && (needsTry(group) || !isAwake(group));
}

/** Begins a step; an observation is one more on-time of its group. */
export function begin(record: LearningRecord, step: LearningStep): LearningRecord {
  if (step.kind !== "observe") return { ...record, step };
  const tries = (record.groups[step.group]?.tries ?? 0) + 1;
  return { ...withGroup(record, step.group, { tries }), step };
}

/** The group's on-time is over. */
export function observed(record: LearningRecord, index: number): LearningRecord {
  const group = record.groups[index];
  if (!group) return record;
  const timedOut = isHeardOut(group) ? group.timedOut : group.timedOut + 1;
  return { ...withGroup(record, index, { timedOut }), isQuietDue: true };
}

/** Who was not heard a second time gets no seat: it may have been somebody who passed by. */
export function woken(record: LearningRecord): LearningRecord {
  let after = record;
  for (const [index, group] of record.groups.entries()) {
    const silent = group.seats.filter(isExpected).map(({ mac }) => mac);
    if (silent.length > 0) after = withoutBoards(after, index, silent);
  }
  return after;
}

/** Its boards are at work: it is not made dark for the sake of one that is missing. */
export function withoutTries(record: LearningRecord, index: number): LearningRecord {
  return withGroup(record, index, { timedOut: patience });
}

function withoutBoards(
  record: LearningRecord,
  index: number,
  macs: readonly string[],
): LearningRecord {
  const group = record.groups[index];
  if (!group) return record;
  const without = <Board extends { readonly mac: string }>(list: readonly Board[]) =>
    list.filter(({ mac }) => !macs.includes(mac));
  const strangers = record.strangers.map((one) =>
    macs.includes(one.mac) ? { ...one, wasSilent: true as const } : one,
  );
  let after = withGroup({ ...record, strangers }, index, {
    timedOut: group.timedOut + 1,
    heard: without(group.heard),
    seats: without(group.seats),
  });
  for (const sighting of group.heard.filter(({ mac }) => macs.includes(mac))) {
    after = withUnknown(after, sighting, `${nameOf(group)} was on, but not again`);
  }
  return after;
}

export function withGroup(
  record: LearningRecord,
  index: number,
  change: Partial<LearningGroup>,
): LearningRecord {
  return {
    ...record,
    groups: record.groups.map((group, place) =>
      place === index ? { ...group, ...change } : group,
    ),
  };
}

export function isExpected({ state, refused }: Seat): boolean {
  return state === "expected" && refused === undefined;
}

function isStranger({ strangers }: LearningRecord, mac: string): boolean {
  return has(strangers, mac);
}

/** Its group is on for good. */
function isThrough({ groups }: LearningRecord, mac: string): boolean {
  return groups.some((group) => isAwake(group) && !needsTry(group) && has(group.heard, mac));
}

/** It was switched on for its boards to boot. */
export function isAwake({ seats }: LearningGroup): boolean {
  return seats.some(({ state }) => state === "placed");
}

function has(list: readonly { readonly mac: string }[], mac: string): boolean {
  return list.some((one) => one.mac === mac);
}
