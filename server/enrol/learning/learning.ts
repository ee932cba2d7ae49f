/**
 * Learning a rack: which MAC address sits in which slot, found by switching one
 * outlet on at a time and listening for who asks by DHCP.
 *
 *   check.ts    whether it can begin
 *   run.ts      does the steps; outlets.ts switches, before.ts puts back, placing.ts places
 *   ledger.ts   what was heard when, and what is next (pure)
 *   plan.ts     who gets which slot and address (pure); twin.ts knows boards by their serial number
 *   ports.ts    what boards that booted hear of their switches
 *   flags.ts    what people are told (pure)
 *   answers.ts  what people say afterwards
 *   evidence/   what knows a board's port of the switch
 *
 * A wrong placement cannot come of timing: a board is placed when it was heard in
 * two on-times of its outlet and never while that was off; until then unknown
 * boards get no answer, so that a stranger goes on asking. What cannot be told is
 * flagged, never guessed. A stack with one outlet cannot tell its slots apart:
 * its boards get them in the order heard, unless the switch's ports tell more,
 * and each is flagged until somebody confirms it.
 *
 * The run is in the journal before each step, and taken up again after a restart.
 */

import { randomUUID } from "node:crypto";
import type { MacAddress } from "#protocol/brand.ts";
import type {
  LearningOptions,
  LearningPreview,
  LearningRecord,
  LearningStatus,
} from "#protocol/learning.ts";
import { isSameSlot, type PowerState, type SlotRef } from "#protocol/node.ts";
import type { Rack } from "#protocol/rack.ts";
import type { BootClient } from "../../boot/client.ts";
import type { Subnet } from "../../config.ts";
import { ConflictError, NotFoundError } from "../../errors.ts";
import type { Admission } from "../../lease/admission.ts";
import { type Answer, confirm, keep, place, swap } from "./answers.ts";
import { checkRack } from "./check.ts";
import type { LearningContext } from "./context.ts";
import { portTold } from "./evidence/option-82.ts";
import { flagsOf, slotsOf } from "./flags.ts";
import { digestOf, groupsOf, nameOf } from "./groups.ts";
import type { Heard } from "./ledger.ts";
import { LearningRun } from "./run.ts";

/**
 * Quiet: longer than the longest pause between two DISCOVERs of one firmware
 * (EDK2: 28 s). Late: servers test their memory for minutes.
 */
const defaults = { slotTimeoutSeconds: 120, quietSeconds: 30, settleSeconds: 1 };
/** Who was silent gets so much more time when it is tried again. */
const lateFactor = 2.5;

export interface LearningRequest extends Partial<LearningOptions> {
  readonly rack: string;
  /** Installed nodes that run lose their power. */
  readonly force?: boolean;
}

export interface Learning {
  /**
   * Powers the whole rack off and begins.
   *
   * @throws NotFoundError without such a rack, ConflictError while another runs or a
   *   node of the rack has a task or an installed one runs, InvalidInputError when a
   *   slot has no outlet or its address is in a pool or in no subnet
   */
  start(request: LearningRequest, who: string): { readonly id: string };
  /** Errors as {@link Learning.start}; nothing is done. */
  preview(request: LearningRequest): LearningPreview;
  /** Ends it; what was on before is on again when it resolves. What was learned stays. */
  cancel(): Promise<void>;
  /** Of the run at work, or of the last one. */
  status(): LearningStatus;
  /** `all`, a stack, a slot or a MAC address. @throws InvalidInputError, ConflictError while it runs */
  confirm(targets: readonly string[]): Answer;
  keep(targets: readonly string[]): Answer;
  swap(one: string, other: string): Answer;
  place(mac: MacAddress, slot: string): Answer;
}

export interface LearningRoom extends Learning, Admission {
  /** Takes up what the last process left; call it when DHCP can hear. */
  resume(): void;
  /** Stops where it is, to be taken up at the next start. */
  close(): Promise<void>;
}

export function createLearning(context: LearningContext): LearningRoom {
  const { store, events, clock } = context;
  let run: LearningRun | undefined;
  let ended: Promise<void> = Promise.resolve();

  events.on("power", ({ slot, state, ok }) => {
    if (ok) followPower(context, slot, state);
  });

  const rackNamed = (name: string): Rack => {
    const rack = store.racks.get(name);
    if (!rack) throw new NotFoundError(`no rack ${name}`);
    return rack;
  };

  const checked = ({ rack: name, force }: LearningRequest): Rack => {
    const rack = rackNamed(name);
    checkRack(rack, context, force ?? false);
    return rack;
  };

  const current = (): LearningRecord | undefined => {
    const stored = store.learnings.newest();
    const isOurs = run?.record.id === stored?.id && stored?.state === "running";
    return isOurs ? run?.record : stored;
  };

  const go = (record: LearningRecord, rack: Rack, isResumed: boolean) => {
    run = new LearningRun(record, rack, context);
    ended = run.run(isResumed);
  };

  /** The last run, to be answered. @throws NotFoundError, ConflictError */
  const answerable = (): { readonly record: LearningRecord; readonly rack: Rack } => {
    const record = current();
    if (!record) throw new NotFoundError("no rack was learned yet");
    if (record.state === "running") {
      throw new ConflictError(`rack ${record.rack} is being learned: answer when it has ended`);
    }
    return { record, rack: rackNamed(record.rack) };
  };

  const answered = (answer: Answer): Answer => {
    const { state } = answerable().record;
    for (const text of answer.done) events.publish({ topic: "learning", state, text });
    return answer;
  };

  return {
    start(request, who) {
      if (run?.isRunning) throw new ConflictError(`rack ${run.record.rack} is being learned`);
      const rack = checked(request);
      const record = newRecord(rack, request, who, { now: clock.now(), before: current() });
      store.learnings.put(record);
      go(record, rack, false);
      return { id: record.id };
    },

    preview(request) {
      const rack = checked(request);
      const groups = groupsOf(rack);
      const { slotTimeoutSeconds, lateTimeoutSeconds, quietSeconds } = optionsOf(request);
      return {
        outlets: groups.map(nameOf),
        slots: groups.reduce((count, { slots }) => count + slots.length, 0),
        nodes: store.nodes
          .list()
          .filter(({ slot }) => slot?.rack === rack.name)
          .map(({ name }) => name),
        secondsAtMost:
          groups.length * (2 * slotTimeoutSeconds + lateTimeoutSeconds) + 2 * quietSeconds,
      };
    },

    async cancel() {
      run?.stop("cancel");
      await ended;
    },

    async close() {
      run?.stop("close");
      await ended;
    },

    resume() {
      const record = store.learnings.newest();
      if (record?.state !== "running" || run?.isRunning) return;
      const rack = store.racks.get(record.rack);
      if (rack && digestOf(rack) === record.rackDigest) return go(record, rack, true);
      const reason = `rack ${record.rack} was changed while the server was down: learn it again`;
      store.learnings.put({ ...record, state: "failed", reason, endedAt: clock.now() });
      events.publish({ topic: "learning", state: "failed", text: reason });
    },

    status() {
      const record = current();
      if (!record) return { state: "idle", slots: [], flagged: [] };
      return statusOf(record, run?.record.id === record.id ? run : undefined, context);
    },

    confirm(targets) {
      const { record, rack } = answerable();
      return answered(confirm(record, rack, targets, context));
    },
    keep(targets) {
      return answered(keep(answerable().record, targets, context));
    },
    swap(one, other) {
      const { record, rack } = answerable();
      return answered(swap(record, rack, [one, other], context));
    },
    place(mac, slot) {
      const { record, rack } = answerable();
      return answered(place(record, rack, { mac, slot }, context));
    },

    heard(client, subnet) {
      if (!run?.isRunning || client.firmware === undefined) return undefined;
      return run.hear(heardOf(client, subnet, store.racks.get(run.record.rack)), subnet);
    },
  };
}

function heardOf(client: BootClient, subnet: Subnet, rack: Rack | undefined): Heard {
  const { mac, firmware, serial, uuid } = client;
  const port = rack && portTold(rack, client);
  return {
    ...{ mac, subnet: subnet.cidr },
    ...(firmware && { firmware }),
    ...(serial !== undefined && { serial }),
    ...(uuid !== undefined && { uuid }),
    ...(port !== undefined && { port }),
  };
}

function optionsOf(request: LearningRequest): LearningOptions {
  const { slotTimeoutSeconds, quietSeconds, settleSeconds, lateTimeoutSeconds } = {
    ...defaults,
    ...request,
  };
  return {
    ...{ slotTimeoutSeconds, quietSeconds, settleSeconds },
    lateTimeoutSeconds: lateTimeoutSeconds ?? slotTimeoutSeconds * lateFactor,
  };
}

function newRecord(
  rack: Rack,
  request: LearningRequest,
  who: string,
  {
    now,
    before,
  }: { readonly now: LearningRecord["startedAt"]; readonly before: LearningRecord | undefined },
): LearningRecord {
  const seats = before?.rack === rack.name ? before.groups.flatMap((group) => group.seats) : [];
  const byOrder = seats.filter(({ by }) => by === "order").map(({ mac }) => mac);
  return {
    ...{ id: `learning_${randomUUID()}`, rack: rack.name, rackDigest: digestOf(rack), who },
    ...{ options: optionsOf(request), startedAt: now, state: "running" },
    ...{ step: { kind: "look" }, isQuietDue: false, groups: groupsOf(rack) },
    ...{ strangers: [], unknown: [], questions: [] },
    unconfirmed:
      before?.rack === rack.name ? [...new Set([...before.unconfirmed, ...byOrder])] : [],
  };
}

function statusOf(
  record: LearningRecord,
  run: LearningRun | undefined,
  { store }: LearningContext,
): LearningStatus {
  const { state, id, rack, startedAt, endedAt, reason } = record;
  const flagged = flagsOf(record, {
    rack: store.racks.get(rack),
    reservationOf: (mac) => store.reservations.byMac(mac),
    nodeOf: (mac) => store.nodes.byMac(mac),
  });
  const slots = slotsOf(record, flagged);
  const done = slots.filter((slot) => slot.state !== "waiting" && slot.state !== "listening");
  return {
    ...{ state, id, rack, startedAt },
    ...(endedAt !== undefined && { endedAt }),
    ...(reason !== undefined && { reason }),
    ...(state === "running" && run?.activity),
    progress: { done: done.length, total: slots.length },
    slots,
    flagged,
  };
}

/** A node whose outlet was switched on may enrol: its power is the one thing an attacker does not control. */
function followPower({ store, nodes, windows }: LearningContext, slot: SlotRef, state: PowerState) {
  const node = store.nodes.list().find((one) => one.slot && isSameSlot(one.slot, slot));
  if (!node) return;
  nodes.update(node.id, { power: state, ...(state === "off" && { connection: "offline" }) });
  if (state === "on") windows.open(node.mac, "power-on");
}
