/**
 * One run of learning: does the steps the ledger names. Each is in the journal
 * before it is begun, and can be begun again from its start: so a run that was
 * killed is taken up where it was.
 */

import {
  after,
  type Instant,
  type MacAddress,
  type Milliseconds,
  milliseconds,
} from "#protocol/brand.ts";
import type { LearningGroup, LearningRecord, LearningStep, Seat } from "#protocol/learning.ts";
import { type SlotRef, slotText } from "#protocol/node.ts";
import type { Rack } from "#protocol/rack.ts";
import { sleepOut } from "../../clock.ts";
import type { Subnet } from "../../config.ts";
import { ConflictError, PoolExhaustedError } from "../../errors.ts";
import type { Reservation } from "../../store/store.ts";
import { restorePower, withStates } from "./before.ts";
import type { LearningContext } from "./context.ts";
import { digestOf, nameOf, refsOf } from "./groups.ts";
import {
  begin,
  boardsOf,
  type Heard,
  isComplete,
  isDark,
  isExpected,
  isHeardOut,
  type Listening,
  needsTry,
  nextStep,
  observed,
  sight,
  withGroup,
  withoutTries,
  woken,
} from "./ledger.ts";
import { createOutlets, type Fault, type Outlets, watchOutlets } from "./outlets.ts";
import { displace, placeSeat, withSeat } from "./placing.ts";
import { plan } from "./plan.ts";
import { type PortFacts, portWait, withPortsTold } from "./ports.ts";

/** How often outlets are asked in a quiet time whether they are still off. */
const readBacks = 4;

/** How often it is looked whether boards have told their ports. */
const portLook = milliseconds(1000);

/** The run was asked to stop: unwinds to its end. */
class Stopped extends Error {}

export interface Activity {
  readonly doing: string;
  readonly until?: Instant;
}

export class LearningRun {
  #record: LearningRecord;
  readonly #rack: Rack;
  readonly #context: LearningContext;
  readonly #outlets: Outlets;
  readonly #stop = new AbortController();
  #stopFor: "cancel" | "close" | undefined;
  #listening: Listening = { kind: "nothing" };
  /** Ends the wait of the step at work early. */
  #heardOut = new AbortController();
  #activity: Activity = { doing: "begins" };
  /** Groups this process has switched on and not off since. */
  readonly #lit = new Set<number>();
  #isEnding = false;

  /** @param record - in the journal already */
  constructor(record: LearningRecord, rack: Rack, context: LearningContext) {
    this.#record = record;
    this.#rack = rack;
    this.#context = context;
    this.#outlets = createOutlets(context.power, rack.name, record.who);
  }

  get record(): LearningRecord {
    return this.#record;
  }

  get activity(): Activity {
    return this.#activity;
  }

  get isRunning(): boolean {
    return this.#record.state === "running";
  }

  /** `close` leaves everything as it is, to be taken up at the next start. */
  stop(why: "cancel" | "close"): void {
    this.#stopFor = why;
    this.#stop.abort();
  }

  /**
   * Never rejects: its end is in the record and in an event.
   *
   * @param isResumed - the server was stopped in the middle of it
   */
  async run(isResumed: boolean): Promise<void> {
    try {
      if (isResumed) await this.#resume();
      while (this.isRunning) await this.#doStep(this.#record.step);
    } catch (error) {
      if (!this.#isClosed()) await this.#endEarly(error);
    } finally {
      this.#listening = { kind: "nothing" };
    }
  }

  /** A boot client asks. A reservation: it has just been placed; `wait`: it is not to be answered yet. */
  hear(heard: Heard, subnet: Subnet): Reservation | "wait" {
    try {
      return this.#hear(heard, subnet);
    } catch (error) {
      this.#context.log.error({ err: error, mac: heard.mac }, "learning could not note a board");
      return "wait"; // not noted, so not answered: it asks again
    }
  }

  #hear(heard: Heard, subnet: Subnet): Reservation | "wait" {
    if (this.#listening.kind === "wake") {
      const placed = this.#placeExpected(heard.mac, subnet);
      if (placed) return placed;
      if (this.#context.store.reservations.byMac(heard.mac)) return "wait";
    }
    const after = sight(this.#record, heard, this.#listening);
    if (after === this.#record) return "wait";
    this.#save(after);
    if (this.#listening.kind === "group") {
      const group = after.groups[this.#listening.index];
      if (!group) return "wait";
      this.#say(`${heard.mac} is heard behind ${nameOf(group)}`, refsOf(after.rack, group)[0]);
      if (isHeardOut(group)) this.#heardOut.abort();
    } else this.#say(`${heard.mac} is heard, and not placed`);
    return "wait";
  }

  async #doStep(step: LearningStep): Promise<void> {
    switch (step.kind) {
      case "look":
        return await this.#look();
      case "off":
        return await this.#allOff();
      case "quiet":
        return await this.#quiet();
      case "observe":
        return await this.#observe(step.group);
      case "wake":
        return await this.#wake();
      case "ports":
        return await this.#ports();
      case "restore":
        return await this.#restore(step.end);
    }
  }

  /** Whatever is to be dark may have been switched on when the server went. */
  async #resume(): Promise<void> {
    this.#say("taken up again after a restart");
    const { kind } = this.#record.step;
    if (kind !== "quiet" && kind !== "observe") return;
    await this.#switchAll(this.#indexes(isDark), "off");
    await this.#settle();
  }

  /** Which outlets are on now, to be put right at the end. */
  async #look(): Promise<void> {
    this.#doing("asking the outlets");
    const nodes = this.#context.store.nodes.list();
    this.#begin(await withStates(this.#record, this.#outlets, nodes), { kind: "off" });
  }

  async #allOff(): Promise<void> {
    this.#doing("switching all outlets off");
    this.#say("all outlets off");
    await this.#switchAll(
      this.#indexes(() => true),
      "off",
    );
    await this.#settle();
    this.#begin(this.#record, { kind: "quiet" });
  }

  /** Listens with everything off, and asks the outlets whether they are. */
  async #quiet(): Promise<void> {
    const { quietSeconds } = this.#record.options;
    this.#doing("listening while every outlet is off", seconds(quietSeconds));
    this.#say(`everything is off: listening for ${quietSeconds} s`);
    this.#listening = { kind: "quiet" };
    for (let count = 0; count < readBacks; count++) {
      await this.#sleep(milliseconds((quietSeconds * 1000) / readBacks));
      await this.#readBack();
    }
    this.#listening = { kind: "nothing" };
    this.#next({ ...this.#record, isQuietDue: false });
  }

  async #readBack(): Promise<void> {
    await Promise.all(
      this.#indexes(isDark).map(async (index) => {
        const group = this.#record.groups[index];
        if (!group || (await this.#outlets.query(group)) !== "on") return;
        const name = `outlet of ${this.#record.rack}/${nameOf(group)}`;
        this.#fault(index, {
          reason: "bouncing",
          text: `${name} was off and is on again by itself`,
        });
      }),
    );
  }

  /** Switches one group on, alone, until its boards were heard or its time is up. */
  async #observe(index: number): Promise<void> {
    const group = this.#group(index);
    if (isHeardOut(group) && group.heard.some(({ tries }) => tries.includes(group.tries))) {
      return this.#next(observed(this.#record, index)); // killed between the last board and the end
    }
    const timeout = this.#timeoutOf(group.timedOut);
    const name = nameOf(group);
    this.#doing(`listening to ${name}`, timeout);
    this.#say(`${name}: outlet on, listening`, refsOf(this.#record.rack, group)[0]);
    this.#heardOut = new AbortController();
    this.#listening = { kind: "group", index };
    if (await this.#switch(index, "on")) {
      this.#doing(`listening to ${name}`, timeout);
      const over = new AbortController();
      const watched = this.#watch([index], over.signal);
      await this.#sleep(timeout, this.#heardOut.signal);
      await this.#locate(index);
      await this.#sleep(this.#patienceWith(index));
      over.abort();
      await watched;
      await this.#checkStillOn(index);
    }
    this.#listening = { kind: "nothing" };
    await this.#switch(index, "off");
    await this.#settle();
    const after = observed(this.#record, index);
    if (!isComplete(this.#group(index)) && !this.#group(index).fault) {
      const { heard, slots } = this.#group(index);
      this.#say(`${name}: ${heard.length} of ${slots.length} heard, dark for now`);
    }
    this.#next(after);
  }

  #timeoutOf(timedOut: number): Milliseconds {
    const { slotTimeoutSeconds, lateTimeoutSeconds } = this.#record.options;
    return seconds(timedOut === 1 ? lateTimeoutSeconds : slotTimeoutSeconds);
  }

  /** Who comes right behind the last one is one too many; where there were too many, it may take longer. */
  #patienceWith(index: number): Milliseconds {
    const { quietSeconds, settleSeconds } = this.#record.options;
    const isCrowded = boardsOf(this.#group(index)) === undefined;
    return seconds(isCrowded ? quietSeconds : settleSeconds);
  }

  /** A contact that bounces lets its boards begin anew again and again. */
  #watch(indexes: readonly number[], over: AbortSignal): Promise<void> {
    const groups = new Map(indexes.map((index) => [index, this.#group(index)]));
    return watchOutlets(groups, this.#outlets, {
      clock: this.#context.clock,
      signal: AbortSignal.any([over, this.#stop.signal]),
      onOff: (index) => this.#noteBouncing(index),
    });
  }

  #noteBouncing(index: number): void {
    try {
      this.#save(withGroup(this.#record, index, { isBouncing: true }));
    } catch (error) {
      this.#context.log.error({ err: error }, "learning could not note that an outlet bounces");
    }
  }

  async #checkStillOn(index: number): Promise<void> {
    const group = this.#group(index);
    if (isComplete(group) || (await this.#outlets.query(group)) !== "off") return;
    const name = `outlet of ${this.#record.rack}/${nameOf(group)}`;
    this.#fault(index, { reason: "bouncing", text: `${name} was on and is off again by itself` });
  }

  /** Asks what knows the ports where the boards hang; only now, while they have power. */
  async #locate(index: number): Promise<void> {
    const macs = this.#group(index)
      .heard.filter(({ port }) => port === undefined)
      .map(({ mac }) => mac);
    const strangers = this.#record.strangers
      .filter(({ port }) => port === undefined)
      .map(({ mac }) => mac);
    const ports = await this.#context.locate?.(
      this.#rack,
      [...macs, ...strangers],
      this.#stop.signal,
    );
    this.#checkStop();
    if (!ports || ports.size === 0) return;
    const withPort = <Board extends { readonly mac: MacAddress }>(board: Board): Board => {
      const port = ports.get(board.mac);
      return port === undefined ? board : { ...board, port };
    };
    const strange = this.#record.strangers.map(withPort);
    const { heard } = this.#group(index);
    this.#save(
      withGroup({ ...this.#record, strangers: strange }, index, { heard: heard.map(withPort) }),
    );
  }

  /** Every group whose boards are known gets power: who is heard again is placed, and boots. */
  async #wake(): Promise<void> {
    const groups = this.#indexes(({ seats }) => seats.some(isExpected));
    const { slotTimeoutSeconds, lateTimeoutSeconds } = this.#record.options;
    const isLate = this.#record.groups.some(({ heard }) => heard.some(({ late }) => late));
    const timeout = seconds(
      isLate ? Math.max(slotTimeoutSeconds, lateTimeoutSeconds) : slotTimeoutSeconds,
    );
    this.#doing(`switching ${groups.length} outlets on`);
    const powered = groups.filter((index) => !this.#group(index).fault);
    // After a restart, some spoke unheard.
    const unheard = powered.filter((index) => !this.#isAtWork(this.#group(index)));
    await this.#switchAll(unheard, "off");
    this.#say(`${groups.length} outlets on: waiting for every board to be heard again`);
    this.#heardOut = new AbortController();
    this.#listening = { kind: "wake" };
    await this.#switchAll(powered, "on");
    this.#doing("waiting for every board to be heard again", timeout);
    const over = new AbortController();
    const watched = this.#watch(powered, over.signal);
    if (!this.#isAllPlaced()) await this.#sleep(timeout, this.#heardOut.signal);
    over.abort();
    await watched;
    this.#listening = { kind: "nothing" };
    this.#save(this.#sparing(woken(this.#record)));
    await this.#switchAll(this.#indexes(needsTry), "off");
    this.#next(this.#record);
  }

  /** Who was placed tells its port when it has booted; whoever hangs elsewhere is placed anew. */
  async #ports(): Promise<void> {
    const { store, clock } = this.#context;
    const facts: PortFacts = { rack: this.#rack, nodeOf: (mac) => store.nodes.byMac(mac) };
    const wait = portWait(this.#record, facts, clock);
    this.#say(`${wait.asked} boards boot, and tell which port of their switch they hear of (LLDP)`);
    for (let pending = wait.pending(); pending > 0; pending = wait.pending()) {
      const told = wait.asked - pending;
      const doing = `waiting for switch ports: ${told} of ${wait.asked} boards are through`;
      this.#doing(doing, wait.atMost());
      await this.#sleep(portLook);
    }
    const isAtWork = (group: LearningGroup) => this.#isAtWork(group);
    const { record, displaced } = withPortsTold(this.#record, facts, isAtWork);
    store.transaction(() => {
      for (const mac of displaced) displace(mac, this.#context);
      this.#save(record);
    });
    for (const mac of displaced) this.#say(`${mac} hangs on another port: it is placed again`);
    this.#next(this.#record);
  }

  /** A node that was placed may have begun to install itself: its outlet is left on. */
  #sparing(record: LearningRecord): LearningRecord {
    return record.groups.reduce(
      (before, group, index) =>
        needsTry(group) && this.#isAtWork(group) ? withoutTries(before, index) : before,
      record,
    );
  }

  #isAtWork(group: LearningGroup): boolean {
    const { store } = this.#context;
    return group.seats.some(({ mac }) => {
      const node = store.nodes.byMac(mac);
      return node !== undefined && store.tasks.unfinishedOf(node.id).length > 0;
    });
  }

  #isAllPlaced(): boolean {
    return this.#record.groups.every(({ seats }) => !seats.some(isExpected));
  }

  /** Undefined: it is not expected, or was placed before, or cannot be. */
  #placeExpected(mac: MacAddress, subnet: Subnet): Reservation | undefined {
    for (const [index, group] of this.#record.groups.entries()) {
      const seat = group.seats.find((one) => one.mac === mac);
      if (seat && isExpected(seat)) return this.#place(index, seat, subnet);
    }
    return undefined;
  }

  #place(index: number, seat: Seat, subnet: Subnet): Reservation | undefined {
    try {
      const facts = { rack: this.#rack, subnet, rooms: this.#context };
      const { record, reservation, slot } = placeSeat(this.#record, index, seat, facts);
      this.#record = record;
      this.#context.windows.open(seat.mac, "power-on");
      this.#say(`${slotText(slot)}: ${seat.mac} has ${reservation.address}`, slot);
      return reservation;
    } catch (error) {
      if (!(error instanceof ConflictError || error instanceof PoolExhaustedError)) throw error;
      this.#save(withSeat(this.#record, index, { ...seat, refused: error.message }));
      this.#say(`${seat.mac} cannot be placed: ${error.message}`);
      return undefined;
    } finally {
      if (this.#isAllPlaced()) this.#heardOut.abort();
    }
  }

  async #restore(end: "done" | "failed" | "cancelled"): Promise<void> {
    this.#listening = { kind: "nothing" };
    this.#doing("giving outlets their power back");
    const isLit = (index: number) => this.#lit.has(index);
    const told = await restorePower(this.#record, end, this.#outlets, isLit);
    this.#checkStop();
    this.#end(end, end === "cancelled" ? `cancelled; ${told}` : undefined);
  }

  #end(state: "done" | "failed" | "cancelled", reason: string | undefined): void {
    const endedAt = this.#context.clock.now();
    const why = reason ?? this.#record.reason;
    this.#save({ ...this.#record, state, endedAt, ...(why !== undefined && { reason: why }) });
    const slots = this.#record.groups.reduce((count, group) => count + group.slots.length, 0);
    const placed = this.#record.groups.reduce((count, { seats }) => count + seats.length, 0);
    const text = `${placed} of ${slots} slots have their board`;
    this.#say(why === undefined ? text : `${text}; ${why}`);
  }

  async #endEarly(error: unknown): Promise<void> {
    const isCancelled = this.#stopFor === "cancel";
    this.#isEnding = true;
    const end = isCancelled ? "cancelled" : "failed";
    const reason = error instanceof Error ? error.message : String(error);
    if (!isCancelled) {
      this.#context.log.error({ err: error, rack: this.#record.rack }, "learning failed");
    }
    try {
      this.#begin({ ...this.#record, ...(!isCancelled && { reason }) }, { kind: "restore", end });
      await this.#restore(end);
    } catch (cause) {
      if (this.#isClosed()) return;
      // The journal does not take it: the run is taken up at the next start.
      this.#context.log.error({ err: cause, rack: this.#record.rack }, "learning stopped");
      this.#record = { ...this.#record, state: "failed", reason };
      this.#publish(reason);
    }
  }

  #isClosed(): boolean {
    return this.#stopFor === "close";
  }

  #next(record: LearningRecord): void {
    const { kind } = nextStep(record);
    const planned = kind === "wake" || kind === "restore" ? this.#planned(record) : record;
    this.#begin(planned, nextStep(planned));
  }

  #planned(record: LearningRecord): LearningRecord {
    const { store, subnets } = this.#context;
    return plan(record, {
      rack: this.#rack,
      reservations: store.reservations.list(),
      nodes: store.nodes.list(),
      rangeOf: (cidr) => subnets.find((one) => one.cidr === cidr)?.reserved,
    });
  }

  #begin(record: LearningRecord, step: LearningStep): void {
    this.#checkStop();
    if (step.kind !== "restore") this.#checkUnchanged();
    this.#save(begin(record, step));
  }

  /** Another outlet behind a slot's name would place boards wrong. @throws ConflictError */
  #checkUnchanged(): void {
    const rack = this.#context.store.racks.get(this.#rack.name);
    if (rack && digestOf(rack) === this.#record.rackDigest) return;
    throw new ConflictError(`rack ${this.#rack.name} was changed meanwhile: learn it again`);
  }

  #save(record: LearningRecord): void {
    this.#context.store.learnings.put(record);
    this.#record = record;
  }

  #fault(index: number, fault: Fault): void {
    this.#checkStop();
    this.#save(withGroup(this.#record, index, { fault }));
    this.#say(fault.text, refsOf(this.#record.rack, this.#group(index))[0]);
  }

  /** False when it did not follow: its group is left out from now on. */
  async #switch(index: number, state: "on" | "off"): Promise<boolean> {
    const fault = await this.#outlets.set(this.#group(index), state);
    if (state === "on") this.#lit.add(index);
    else this.#lit.delete(index);
    this.#checkStop();
    if (!fault) return true;
    if (!this.#group(index).fault) this.#fault(index, fault);
    return false;
  }

  async #switchAll(indexes: readonly number[], state: "on" | "off"): Promise<void> {
    await Promise.all(indexes.map((index) => this.#switch(index, state)));
  }

  #settle(): Promise<void> {
    return this.#sleep(seconds(this.#record.options.settleSeconds));
  }

  async #sleep(duration: Milliseconds, heardOut?: AbortSignal): Promise<void> {
    const signals = heardOut ? [this.#stop.signal, heardOut] : [this.#stop.signal];
    await sleepOut(this.#context.clock, duration, AbortSignal.any(signals)); // who asked meanwhile is heard now
    this.#checkStop();
  }

  /** @throws Stopped */
  #checkStop(): void {
    const isAsked = this.#stopFor === "cancel" && !this.#isEnding;
    if (isAsked || this.#isClosed()) throw new Stopped("stopped");
  }

  #group(index: number): LearningGroup {
    const group = this.#record.groups[index];
    if (!group) throw new RangeError(`no group ${index}`);
    return group;
  }

  #indexes(wanted: (group: LearningGroup) => boolean): readonly number[] {
    return this.#record.groups.flatMap((group, index) => (wanted(group) ? [index] : []));
  }

  #doing(doing: string, atMost?: Milliseconds): void {
    const until = atMost === undefined ? undefined : after(this.#context.clock.now(), atMost);
    this.#activity = { doing, ...(until !== undefined && { until }) };
  }

  #say(text: string, slot?: SlotRef): void {
    this.#context.log.info({ rack: this.#record.rack, learning: this.#record.id }, text);
    this.#publish(text, slot);
  }

  #publish(text: string, slot?: SlotRef): void {
    const { state } = this.#record;
    this.#context.events.publish({ topic: "learning", state, text, ...(slot && { slot }) });
  }
}

function seconds(value: number): Milliseconds {
  return milliseconds(value * 1000);
}
