/** What people are told of a learning: per slot, and a list of what needs a look. Pure. */

import type { Ipv4Address, MacAddress } from "#protocol/brand.ts";
import type {
  Flag,
  LearningGroup,
  LearningRecord,
  Sighting,
  SlotLearning,
  Stranger,
} from "#protocol/learning.ts";
import { isSameSlot, type Node, type SlotRef, slotText } from "#protocol/node.ts";
import type { Rack } from "#protocol/rack.ts";
import { switchPortText } from "#protocol/switch-port.ts";
import type { Reservation } from "../../store/store.ts";
import { portSlot } from "./evidence/port.ts";
import { isShared, nameOf, refsOf, subnetOf } from "./groups.ts";
import { boardsOf, isComplete, needsTry } from "./ledger.ts";

export interface FlagFacts {
  /** Absent when it was deleted since. */
  readonly rack: Rack | undefined;
  reservationOf(mac: MacAddress): Reservation | undefined;
  nodeOf(mac: MacAddress): Node | undefined;
}

export function flagsOf(record: LearningRecord, facts: FlagFacts): readonly Flag[] {
  return [
    ...record.groups.flatMap((group) => groupFlags(group, record)),
    ...record.groups.flatMap((group) => seatFlags(group, record, facts)),
    ...record.questions.map((question) => questionFlag(question, facts)),
    ...record.strangers.flatMap((stranger) => strangerFlag(stranger, record, facts)),
    ...record.unknown.flatMap((stranger) => unknownFlag(stranger, record)),
    ...cancelledFlag(record),
  ];
}

/** Where the flag points: a slot where the outlet is the slot's own, else the stack. */
function placeOf(group: LearningGroup, { rack }: LearningRecord): Pick<Flag, "stack" | "slot"> {
  const [slot] = refsOf(rack, group);
  return { stack: group.stack, ...(slot && !isShared(group) && { slot }) };
}

function groupFlags(group: LearningGroup, record: LearningRecord): readonly Flag[] {
  const where = placeOf(group, record);
  const name = `${record.rack}/${nameOf(group)}`;
  const learnAgain = `then: marcoboot learn start ${record.rack}`;
  if (group.fault) {
    const remedy = `${faultRemedies[group.fault.reason]}, ${learnAgain}`;
    return [{ ...group.fault, remedy, ...where, answers: [] }];
  }
  if (boardsOf(group) === undefined && !needsTry(group)) {
    const macs = group.heard.map(({ mac }) => mac).join(" ");
    const text = `${group.heard.length} MAC addresses were heard behind ${name}, which has ${group.slots.length}: ${macs}`;
    const remedy = `remove what does not belong there, or correct the rack file, ${learnAgain}`;
    return [{ reason: "too-many", text, remedy, ...where, answers: [] }];
  }
  const bouncing: Flag = {
    reason: "bouncing",
    text: `outlet of ${name} went off and on by itself when it was switched on`,
    remedy: faultRemedies.bouncing,
    ...where,
    answers: [],
  };
  return [...(group.isBouncing ? [bouncing] : []), ...missingFlags(group, record)];
}

const faultRemedies = {
  "stuck-on": "look at that relay, or the rack file names the wrong outlet",
  "stuck-off": "look at that relay and its fuse, or the rack file names the wrong outlet",
  inverted: "correct the polarity in the rack file (activeLow)",
  bouncing: "look at that relay and its supply",
  power: "look at the outlet's hardware",
} as const;

function missingFlags(group: LearningGroup, record: LearningRecord): readonly Flag[] {
  if (isComplete(group) || group.timedOut === 0) return [];
  const { stack, slots, heard } = group;
  const name = `${record.rack}/${nameOf(group)}`;
  const where = placeOf(group, record);
  const missing = slots.length - heard.length;
  const seconds = record.options.slotTimeoutSeconds;
  if (needsTry(group) && record.state === "running") {
    const text = `${missing} of ${slots.length} in ${name} silent for ${seconds} s: dark now, tried again alone at the end`;
    return [{ reason: "late", text, ...where, answers: [] }];
  }
  const tried = `in ${group.tries} power-ups`;
  const again = `then: marcoboot learn start ${record.rack}`;
  if (isShared(group) && heard.length === 0) {
    const isOn = record.strangers.length >= slots.length;
    const text = isOn
      ? `nobody was heard behind ${name} ${tried}, and ${record.strangers.length} MAC addresses spoke while it was off: its outlet seems to stay on, or is switched the wrong way round`
      : `nobody was heard behind ${name} ${tried}: its outlet seems to stay off, or its switch is not connected`;
    const reason = isOn ? "stuck-on" : "stuck-off";
    return [{ reason, text, remedy: `${faultRemedies[reason]}, ${again}`, stack, answers: [] }];
  }
  const open = refsOf(record.rack, group)
    .filter((ref) => !group.seats.some((seat) => seat.slot === ref.slot))
    .filter((ref) => !record.questions.some(({ slot }) => isSameSlot(slot, ref)))
    .slice(0, missing);
  return open.map((slot) => ({
    reason: "dead",
    text: isShared(group)
      ? `a board of stack ${record.rack}/${stack} was not heard ${tried}; which of its slots that is, is not known`
      : `nobody was heard in ${name} ${tried}${strangersHint(record)}`,
    remedy: `check the board, its cable and its outlet, ${again}`,
    stack,
    slot,
    answers: ["place"],
  }));
}

function strangersHint({ strangers }: LearningRecord): string {
  if (strangers.length === 0) return "";
  return "; if its outlet stays on, one of those that spoke while everything was off may be it";
}

function seatFlags(
  group: LearningGroup,
  record: LearningRecord,
  { rack, nodeOf }: FlagFacts,
): readonly Flag[] {
  const flags: Flag[] = [];
  for (const { mac, slot: name, by, refused } of group.seats) {
    const slot = { rack: record.rack, stack: group.stack, slot: name };
    const where = { stack: group.stack, slot, mac };
    const node = nodeOf(mac);
    if (group.heard.find((one) => one.mac === mac)?.late) {
      const text = `${mac} came late: it was silent for ${record.options.slotTimeoutSeconds} s, and heard when ${nameOf(group)} was tried again alone`;
      flags.push({ reason: "late", text, ...where, answers: [] });
    }
    if (refused !== undefined) {
      const text = `${mac} was heard in ${slotText(slot)} and cannot be placed: ${refused}`;
      const remedy = `remove what it names, then: marcoboot learn start ${record.rack}`;
      flags.push({ reason: "conflict", text, remedy, ...where, answers: ["place"] });
    } else if (by === "order") {
      const said = node?.switchPorts?.heard.map(switchPortText).join(" and ");
      const hint = said && `; it hears of ${said}, which does not tell its slot`;
      const text = `${mac} is in stack ${record.rack}/${group.stack}; that it is in slot ${name} rests on the order heard alone${hint ?? ""}`;
      const remedy = `marcoboot node identify ${node?.name ?? mac}, then: marcoboot learn confirm ${group.stack}/${name}, or learn swap`;
      flags.push({ reason: "unconfirmed", text, remedy, ...where, answers: ["confirm", "swap"] });
    }
    if (node?.quarantined && node.reason !== undefined) {
      const remedy = `marcoboot node approve ${node.name}, if it was exchanged on purpose`;
      flags.push({ reason: "swapped", text: node.reason, remedy, ...where, answers: [] });
    }
  }
  return [...flags, ...group.heard.flatMap((one) => cablingFlag(one, group, record, rack))];
}

/** The switch or the network says one place, the outlet or another board another. */
function cablingFlag(
  { mac, port, subnet }: Sighting,
  group: LearningGroup,
  record: LearningRecord,
  rack: Rack | undefined,
): readonly Flag[] {
  const there = rack && portSlot(rack, port);
  const seat = group.seats.find((one) => one.mac === mac);
  const isAsked = record.questions.some((question) => question.mac === mac);
  if (isAsked || seat?.by === "person") return [];
  const wanted = rack && subnetOf(rack, group.stack);
  if (wanted !== undefined && wanted !== subnet && !seat) {
    const why = `has power from ${nameOf(group)} and asks in ${subnet}, but the rack file says ${wanted}`;
    return [wrongCable(mac, why, group, record)];
  }
  if (!there) return [];
  const isHere = there.stack === group.stack && group.slots.includes(there.slot);
  if (isHere && seat?.slot === there.slot) return [];
  const why = isHere
    ? `and not the one it has: ${isTaken(there, group) ? "another board has that" : "it is at work"}`
    : `but has power from ${nameOf(group)}`;
  const told = `hangs on port ${port}, which is slot ${slotText(there)}, ${why}`;
  return [wrongCable(mac, told, group, record)];
}

function wrongCable(
  mac: MacAddress,
  why: string,
  { stack }: LearningGroup,
  { rack }: LearningRecord,
): Flag {
  const remedy = `correct the cabling or the rack file, then: marcoboot learn start ${rack}`;
  return { reason: "cabling", text: `${mac} ${why}`, remedy, stack, mac, answers: ["place"] };
}

function isTaken({ slot }: SlotRef, { seats }: LearningGroup): boolean {
  return seats.some((seat) => seat.slot === slot);
}

function questionFlag(
  { kind, mac, slot, from, holder, twin }: LearningRecord["questions"][number],
  { reservationOf }: FlagFacts,
): Flag {
  const where = { stack: slot.stack, slot, mac, answers: ["confirm", "keep"] } as const;
  const remedy = `marcoboot learn confirm ${mac}, or learn keep ${mac}`;
  if (kind === "moved") {
    const was = from ? slotText(from) : "another";
    const text = twin
      ? `${mac} is heard in ${slotText(slot)} and says the serial number or UUID of ${twin} in slot ${was}: moved, with another network interface?`
      : `${mac} was in slot ${was} and is now heard in ${slotText(slot)}: moved?`;
    return { reason: "moved", text, remedy, ...where };
  }
  const address = holder && reservationOf(holder)?.address;
  const text = `slot ${slotText(slot)} belongs to ${holder}${address ? ` (${address})` : ""}, but ${mac} was heard in it${twin ? ", with the same serial number or UUID: another network interface?" : ": exchanged?"}`;
  return { reason: "swapped", text, remedy, ...where };
}

function strangerFlag(
  { mac, during, port }: Stranger,
  record: LearningRecord,
  { rack, reservationOf }: FlagFacts,
): readonly Flag[] {
  if (isSeated(record, mac)) return [];
  const own = reservationOf(mac)?.slot;
  const identify = `find out which board it is (its MAC address is on it), then: marcoboot learn place ${mac} STACK/SLOT`;
  if (own?.rack === record.rack) {
    const text = `${mac} is known from slot ${slotText(own)} and spoke while that was off (${during}): its outlet stays on, or the board hangs elsewhere`;
    const remedy = `${faultRemedies["stuck-on"]}, then: marcoboot learn start ${record.rack}`;
    return [
      { reason: "stuck-on", text, remedy, stack: own.stack, slot: own, mac, answers: ["place"] },
    ];
  }
  const there = rack && portSlot(rack, port);
  const where = there ? `, and hangs on port ${port} of slot ${slotText(there)}` : "";
  const doubtful = record.groups.filter(({ fault }) => fault !== undefined).map(nameOf);
  const who =
    doubtful.length === 0
      ? "no board of this rack, or its outlet does not switch off"
      : `no board of this rack, or one behind ${doubtful.join(", ")}, which does not obey: the two cannot be told apart`;
  const text = `${mac} spoke while ${during}${where}: ${who}`;
  return [{ reason: "foreign", text, remedy: identify, mac, answers: ["place"] }];
}

function unknownFlag({ mac, during }: Stranger, record: LearningRecord): readonly Flag[] {
  if (record.state === "running" || isSeated(record, mac)) return [];
  if (record.groups.some(({ heard }) => heard.some((one) => one.mac === mac))) return [];
  const text = `${mac} was heard while ${during}: that does not tell where it is`;
  const remedy = `find out which board it is, then: marcoboot learn place ${mac} STACK/SLOT, or learn start ${record.rack}`;
  return [{ reason: "foreign", text, remedy, mac, answers: ["place"] }];
}

function isSeated({ groups }: LearningRecord, mac: MacAddress): boolean {
  return groups.some(({ seats }) => seats.some((seat) => seat.mac === mac));
}

function cancelledFlag({ state, reason, rack }: LearningRecord): readonly Flag[] {
  if (state !== "cancelled") return [];
  const text = reason ?? "cancelled";
  const remedy = `marcoboot learn start ${rack}`;
  return [{ reason: "cancelled", text, remedy, answers: [] }];
}

/** Every slot's state, in rack order; `listening`: number of the group that is on alone. */
export function slotsOf(record: LearningRecord, flags: readonly Flag[]): readonly SlotLearning[] {
  const listening =
    record.state === "running" && record.step.kind === "observe" ? record.step.group : undefined;
  return record.groups.flatMap((group, index) =>
    refsOf(record.rack, group).map((slot, place) =>
      slotLearning(slot, group, {
        flags,
        isListening: index === listening,
        seen: group.heard[place]?.mac,
      }),
    ),
  );
}

function slotLearning(
  slot: SlotRef,
  group: LearningGroup,
  {
    flags,
    isListening,
    seen,
  }: {
    readonly flags: readonly Flag[];
    readonly isListening: boolean;
    readonly seen: MacAddress | undefined;
  },
): SlotLearning {
  const seat = group.seats.find((one) => one.slot === slot.slot);
  const about = flags.filter((flag) =>
    flag.slot
      ? isSameSlot(flag.slot, slot)
      : flag.stack === slot.stack && flag.reason !== "cabling",
  );
  if (seat?.state === "placed") {
    const warning = about.map(({ text }) => text).join("; ");
    const { mac, address } = seat;
    return {
      state: "heard",
      slot,
      mac,
      address: address as Ipv4Address,
      ...(warning && { warning }),
    };
  }
  if (isListening) return { state: "listening", slot };
  const mac = seat?.mac ?? (group.seats.length === 0 ? seen : undefined);
  if (mac !== undefined && needsNoAnswer(about)) return { state: "seen", slot, mac };
  const [flag] = about;
  if (flag) return { state: "flagged", slot, reason: flag.text };
  return { state: "waiting", slot };
}

/** A board that was heard is shown as that, unless its slot is in question or its outlet at fault. */
function needsNoAnswer(flags: readonly Flag[]): boolean {
  return flags.every(({ reason }) => ["late", "unconfirmed", "bouncing"].includes(reason));
}
