/**
 * Learning a rack: which MAC address sits in which slot, found by switching one
 * outlet on at a time and listening for who asks by DHCP.
 *
 *   all outlets off -> quiet time -> slot by slot in rack order:
 *     outlet on -> first unknown boot client = this slot -> reservation, node, enrolment window
 *               -> nobody within the time-out: outlet off again, slot flagged, next slot
 *
 * What makes a wrong placement impossible by timing alone: only one outlet that
 * could bring a new client is on at a time, and a slot that was given up is off
 * before the next one opens, so a late booter is never taken for its neighbour.
 * Whoever speaks while every outlet is off is no node of this rack and is not
 * placed later either.
 *
 * A stack with one common outlet cannot tell its slots apart: addresses are
 * given in the order heard, and every slot of it is flagged.
 *
 * The facts (reservation, the node's slot) are in the journal the moment they
 * are found. A run that ended early is simply started again: what it had placed
 * keeps slot and address. Nodes stay on after they were heard.
 */

import { randomUUID } from "node:crypto";
import {
  type Instant,
  type Ipv4Address,
  ipv4FromNumber,
  ipv4ToNumber,
  type MacAddress,
  type Milliseconds,
  milliseconds,
  parseIpv4Address,
} from "#protocol/brand.ts";
import type { PowerState, SlotRef } from "#protocol/node.ts";
import type { Rack, Slot, Stack } from "#protocol/rack.ts";
import type { BootClient } from "../boot/client.ts";
import type { Clock } from "../clock.ts";
import type { Subnet } from "../config.ts";
import { ConflictError, InvalidInputError, NotFoundError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { Admission } from "../lease/admission.ts";
import type { Leases } from "../lease/leases.ts";
import type { Log } from "../log.ts";
import type { Nodes } from "../node/nodes.ts";
import type { Power } from "../power/power.ts";
import type { Reservation, Store } from "../store/store.ts";
import type { Windows } from "./token.ts";

export type SlotLearning =
  | { readonly state: "waiting" | "listening"; readonly slot: SlotRef }
  /** `warning`: placed, but something needs a person's look. */
  | {
      readonly state: "heard";
      readonly slot: SlotRef;
      readonly mac: MacAddress;
      readonly address: Ipv4Address;
      readonly warning?: string;
    }
  | { readonly state: "flagged"; readonly slot: SlotRef; readonly reason: string };

export interface LearningStatus {
  readonly state: "idle" | "running" | "done" | "failed" | "cancelled";
  readonly id?: string;
  readonly rack?: string;
  readonly startedAt?: Instant;
  readonly endedAt?: Instant;
  /** Why it failed. */
  readonly reason?: string;
  /** In the order they are powered. */
  readonly slots: readonly SlotLearning[];
  /** Boot clients that were heard and given no slot. */
  readonly unplaced: readonly { readonly mac: MacAddress; readonly reason: string }[];
}

export interface Learning {
  /**
   * Powers the whole rack off and begins.
   *
   * @throws NotFoundError without such a rack, ConflictError while another runs or a
   *   node of the rack has a task, InvalidInputError when a slot has no outlet
   */
  start(rack: string, who: string): { readonly id: string };
  /** Stops after the slot at work; resolves when nothing moves any more. What was learned stays. */
  cancel(): Promise<void>;
  status(): LearningStatus;
}

export interface LearningContext {
  readonly store: Pick<Store, "racks" | "reservations" | "nodes" | "tasks" | "transaction">;
  readonly nodes: Pick<Nodes, "place" | "update">;
  readonly leases: Pick<Leases, "reserve">;
  readonly power: Pick<Power, "set" | "setStack" | "outletOf">;
  readonly windows: Pick<Windows, "open">;
  readonly events: EventBus;
  readonly clock: Clock;
  readonly log: Log;
  /** Time a slot gets to be heard. Default 120 s. */
  readonly slotTimeout?: Milliseconds;
  /** Listening with everything off, to know the strangers on the wire. Default 2 s. */
  readonly quietTime?: Milliseconds;
}

const defaultSlotTimeout = milliseconds(120_000);
const defaultQuietTime = milliseconds(2000);

export function createLearning(context: LearningContext): Learning & Admission {
  let run: LearningRun | undefined;
  let ended: Promise<void> = Promise.resolve();

  context.events.on("heard", ({ mac }) => run?.hearKnown(mac));
  context.events.on("power", ({ slot, state, ok }) => {
    if (ok) followPower(context, slot, state);
  });

  return {
    start(name, who) {
      if (run?.isRunning) throw new ConflictError(`rack ${run.rack.name} is being learned`);
      const rack = context.store.racks.get(name);
      if (!rack) throw new NotFoundError(`no rack ${name}`);
      checkRack(rack, context);
      const started = new LearningRun(rack, who, context);
      run = started;
      ended = started.run();
      return { id: started.id };
    },
    async cancel() {
      run?.cancel();
      await ended;
    },
    status: () => run?.status() ?? { state: "idle", slots: [], unplaced: [] },
    heard: (client, subnet) => run?.hear(client, subnet),
  };
}

/** A node whose outlet was switched on may enrol: its power is the one thing an attacker does not control. */
function followPower({ store, nodes, windows }: LearningContext, slot: SlotRef, state: PowerState) {
  const node = store.nodes.list().find((one) => one.slot && isSame(one.slot, slot));
  if (!node) return;
  nodes.update(node.id, { power: state, ...(state === "off" && { connection: "offline" }) });
  if (state === "on") windows.open(node.mac, "power-on");
}

/** @throws InvalidInputError, ConflictError */
function checkRack(rack: Rack, { power, store }: LearningContext): void {
  for (const stack of rack.stacks) {
    for (const slot of stack.slots) {
      const ref = { rack: rack.name, stack: stack.name, slot: slot.name };
      if (power.outletOf(ref)) continue;
      throw new InvalidInputError(
        `slot ${textOf(ref)} has no outlet: learning needs one for every slot or its stack`,
      );
    }
  }
  for (const task of store.tasks.unfinished()) {
    const node = store.nodes.get(task.nodeId);
    if (node?.slot?.rack !== rack.name) continue;
    throw new ConflictError(`node ${node.name} has a task: learning would cut its power`);
  }
}

/** Slots that are listened for at the moment, and how to end the wait. */
interface Listening {
  readonly slots: readonly SlotRef[];
  /** One outlet for all of them. */
  readonly shared: boolean;
  readonly done: AbortController;
}

class LearningRun {
  readonly id = `learning_${randomUUID()}`;
  readonly rack: Rack;
  readonly #who: string;
  readonly #context: LearningContext;
  readonly #startedAt: Instant;
  readonly #slots = new Map<string, SlotLearning>();
  readonly #definitions = new Map<string, Slot>();
  readonly #unplaced = new Map<MacAddress, string>();
  readonly #cancelled = new AbortController();
  /** Every outlet that can be switched is off, or was since. */
  #allOff = false;
  /** Slots whose outlet could not be switched: flagged, and left as they are. */
  readonly #unswitched = new Set<string>();
  #state: "running" | "done" | "failed" | "cancelled" = "running";
  #reason: string | undefined;
  #endedAt: Instant | undefined;
  #listening: Listening | undefined;

  constructor(rack: Rack, who: string, context: LearningContext) {
    this.rack = rack;
    this.#who = who;
    this.#context = context;
    this.#startedAt = context.clock.now();
    for (const stack of rack.stacks) {
      for (const slot of stack.slots) {
        const ref = { rack: rack.name, stack: stack.name, slot: slot.name };
        this.#slots.set(textOf(ref), { state: "waiting", slot: ref });
        this.#definitions.set(textOf(ref), slot);
      }
    }
  }

  get isRunning(): boolean {
    return this.#state === "running";
  }

  status(): LearningStatus {
    return {
      state: this.#state,
      id: this.id,
      rack: this.rack.name,
      startedAt: this.#startedAt,
      ...(this.#endedAt !== undefined && { endedAt: this.#endedAt }),
      ...(this.#reason !== undefined && { reason: this.#reason }),
      slots: [...this.#slots.values()],
      unplaced: [...this.#unplaced].map(([mac, reason]) => ({ mac, reason })),
    };
  }

  cancel(): void {
    this.#cancelled.abort();
    this.#listening?.done.abort();
  }

  /** Never rejects: its end is in the status and in an event. */
  async run(): Promise<void> {
    try {
      this.#say("all outlets off");
      const dark: Stack[] = [];
      for (const stack of this.rack.stacks) await this.#switchStackOff(stack);
      this.#allOff = true;
      await this.#context.clock.sleep(
        this.#context.quietTime ?? defaultQuietTime,
        this.#cancelled.signal,
      );
      for (const stack of this.rack.stacks) {
        if (this.#cancelled.signal.aborted) break;
        if (stack.outlet) await this.#learnSharedStack(stack, dark);
        else await this.#learnStack(stack);
      }
      // Stacks that were darkened for the sake of the others get their power back.
      for (const stack of dark)
        await this.#context.power.setStack(this.#refOf(stack), "on", this.#who);
      this.#end(this.#cancelled.signal.aborted ? "cancelled" : "done");
    } catch (error) {
      this.#reason = error instanceof Error ? error.message : String(error);
      this.#context.log.error({ err: error, rack: this.rack.name }, "learning failed");
      this.#end("failed");
    }
  }

  /**
   * A boot client without a reservation asks, now. Answered at once: the
   * address must be its own before the OFFER leaves.
   */
  hear(client: BootClient, subnet: Subnet): Reservation | undefined {
    if (!this.isRunning || client.firmware === undefined) return undefined;
    const { mac } = client;
    if (this.#context.store.reservations.byMac(mac)?.slot) {
      this.hearKnown(mac);
      return undefined;
    }
    const listening = this.#listening;
    if (!listening) {
      // While outlets are still being switched off, a board of this rack may be speaking.
      return this.#allOff ? this.#leave(mac, "heard while no slot was listened for") : undefined;
    }
    if (this.#unplaced.has(mac)) return undefined;
    const free = listening.slots.find((slot) => this.#holderOf(slot) === undefined);
    if (!free) {
      const [first] = listening.slots;
      const holder = first && this.#holderOf(first);
      return this.#leave(
        mac,
        `heard in slot ${first && textOf(first)}, which belongs to ${holder}`,
      );
    }
    return this.#place(mac, subnet, free, listening);
  }

  /** A MAC address that has its slot already speaks: a re-run finds it where it was. */
  hearKnown(mac: MacAddress): void {
    if (!this.isRunning) return;
    const reservation = this.#context.store.reservations.byMac(mac);
    const slot = reservation?.slot;
    if (!reservation || slot?.rack !== this.rack.name) return;
    const listening = this.#listening;
    const expected = listening?.slots.some((one) => isSame(one, slot));
    if (!listening || !expected) {
      const state = this.#slots.get(textOf(slot))?.state;
      if (listening && state !== "heard") {
        this.#leave(mac, `known from slot ${textOf(slot)}, but heard while that one was off`);
      }
      return;
    }
    if (this.#slots.get(textOf(slot))?.state === "heard") return;
    this.#context.windows.open(mac, "power-on");
    this.#markHeard(slot, reservation, listening);
  }

  #place(
    mac: MacAddress,
    subnet: Subnet,
    slot: SlotRef,
    listening: Listening,
  ): Reservation | undefined {
    const { store, leases, nodes, windows, log } = this.#context;
    const definition = this.#definitions.get(textOf(slot));
    const hostname = definition?.hostname ?? textOf(slot).replaceAll("/", "-");
    try {
      const reservation = store.transaction(() => {
        const address = this.#addressFor(mac, definition, subnet);
        const made = leases.reserve({ mac, subnet, hostname, slot, ...(address && { address }) });
        nodes.place(mac, slot, hostname, made.address);
        return made;
      });
      windows.open(mac, "power-on");
      this.#markHeard(slot, reservation, listening);
      return reservation;
    } catch (error) {
      log.error({ err: error, mac, slot: textOf(slot) }, "placing failed");
      const reason = error instanceof Error ? error.message : String(error);
      this.#flag(slot, `${mac} was heard, but could not be placed: ${reason}`);
      listening.done.abort();
      return undefined;
    }
  }

  /** Undefined leaves the choice to the leases; that is not possible where other slots name addresses. */
  #addressFor(mac: MacAddress, slot: Slot | undefined, subnet: Subnet): Ipv4Address | undefined {
    if (slot?.address !== undefined) return parseIpv4Address(slot.address);
    const { reservations } = this.#context.store;
    const named = new Set([...this.#definitions.values()].map((one) => one.address));
    if (reservations.byMac(mac) || named.size === 1) return undefined; // size 1: only `undefined`
    const last = ipv4ToNumber(subnet.reserved.last);
    for (let number = ipv4ToNumber(subnet.reserved.first); number <= last; number++) {
      const address = ipv4FromNumber(number);
      if (!named.has(address) && !reservations.byAddress(address)) return address;
    }
    return undefined;
  }

  #markHeard(slot: SlotRef, { mac, address }: Reservation, listening: Listening): void {
    const warning = "its stack has one outlet for all slots: placed in the order heard";
    this.#slots.set(textOf(slot), {
      state: "heard",
      slot,
      mac,
      address,
      ...(listening.shared && listening.slots.length > 1 && { warning }),
    });
    this.#say(`${textOf(slot)}: ${mac} has ${address}`, slot);
    const complete = listening.slots.every(
      (one) => this.#slots.get(textOf(one))?.state !== "listening",
    );
    if (complete) listening.done.abort();
  }

  async #learnStack(stack: Stack): Promise<void> {
    for (const slot of stack.slots) {
      if (this.#cancelled.signal.aborted) return;
      const ref = { ...this.#refOf(stack), slot: slot.name };
      if (this.#unswitched.has(textOf(ref))) continue;
      const silent = await this.#listen([ref], false, (state) =>
        this.#context.power.set(ref, state, this.#who),
      );
      // Off before the next slot opens: when it wakes up late, nobody shall take it for its neighbour.
      if (silent.length > 0) {
        await this.#trySwitch([ref], () => this.#context.power.set(ref, "off", this.#who));
      }
    }
  }

  async #learnSharedStack(stack: Stack, dark: Stack[]): Promise<void> {
    const refs = stack.slots.map((slot) => ({ ...this.#refOf(stack), slot: slot.name }));
    if (refs.some((ref) => this.#unswitched.has(textOf(ref)))) return;
    const silent = await this.#listen(refs, true, (state) =>
      this.#context.power.setStack(this.#refOf(stack), state, this.#who),
    );
    if (silent.length === 0) return;
    await this.#context.power.setStack(this.#refOf(stack), "off", this.#who);
    dark.push(stack);
  }

  /** Opens the slots, switches their outlet on and waits. Returns the slots nobody was heard in. */
  async #listen(
    slots: readonly SlotRef[],
    shared: boolean,
    switchTo: (state: "on") => Promise<void>,
  ): Promise<readonly SlotRef[]> {
    const { clock, slotTimeout = defaultSlotTimeout } = this.#context;
    const listening = { slots, shared, done: new AbortController() };
    for (const slot of slots) this.#slots.set(textOf(slot), { state: "listening", slot });
    this.#say(`${slots.map(textOf).join(" ")}: outlet on, listening`, slots[0]);
    this.#listening = listening;
    let reason = `nobody was heard in ${slotTimeout / 1000} s`;
    try {
      await switchTo("on");
      await clock.sleep(slotTimeout, listening.done.signal);
    } catch (error) {
      reason = `outlet: ${error instanceof Error ? error.message : String(error)}`;
    } finally {
      this.#listening = undefined;
    }
    if (this.#cancelled.signal.aborted) reason = "cancelled";
    const silent = slots.filter((slot) => this.#slots.get(textOf(slot))?.state !== "heard");
    for (const slot of silent) {
      if (this.#slots.get(textOf(slot))?.state === "listening") this.#flag(slot, reason);
    }
    return silent;
  }

  /** One outlet that cannot be switched costs its own slots, not the rack. */
  async #trySwitch(slots: readonly SlotRef[], work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const reason = `outlet: ${error instanceof Error ? error.message : String(error)}`;
      for (const slot of slots) {
        this.#flag(slot, reason);
        this.#unswitched.add(textOf(slot));
      }
    }
  }

  async #switchStackOff(stack: Stack): Promise<void> {
    const { power } = this.#context;
    const ref = this.#refOf(stack);
    const slots = stack.slots.map((slot) => ({ ...ref, slot: slot.name }));
    if (stack.outlet) {
      return await this.#trySwitch(slots, () => power.setStack(ref, "off", this.#who));
    }
    for (const slot of slots) {
      if (this.#cancelled.signal.aborted) return;
      await this.#trySwitch([slot], () => power.set(slot, "off", this.#who));
    }
  }

  #refOf(stack: Stack): Omit<SlotRef, "slot"> {
    return { rack: this.rack.name, stack: stack.name };
  }

  #holderOf(slot: SlotRef): MacAddress | undefined {
    return this.#context.store.reservations.list().find((one) => one.slot && isSame(one.slot, slot))
      ?.mac;
  }

  #leave(mac: MacAddress, reason: string): undefined {
    if (this.#unplaced.has(mac)) return;
    this.#unplaced.set(mac, reason);
    this.#say(`${mac} is not placed: ${reason}`);
  }

  #flag(slot: SlotRef, reason: string): void {
    this.#slots.set(textOf(slot), { state: "flagged", slot, reason });
    this.#say(`${textOf(slot)} flagged: ${reason}`, slot);
  }

  #end(state: "done" | "failed" | "cancelled"): void {
    this.#state = state;
    this.#endedAt = this.#context.clock.now();
    const learned = [...this.#slots.values()];
    const heard = learned.filter((slot) => slot.state === "heard").length;
    const text = `${heard} of ${learned.length} slots heard`;
    this.#say(this.#reason === undefined ? text : `${text}; ${this.#reason}`);
  }

  #say(text: string, slot?: SlotRef): void {
    const { events, log } = this.#context;
    log.info({ rack: this.rack.name, learning: this.id }, text);
    events.publish({ topic: "learning", state: this.#state, text, ...(slot && { slot }) });
  }
}

function isSame(a: SlotRef, b: SlotRef): boolean {
  return a.rack === b.rack && a.stack === b.stack && a.slot === b.slot;
}

function textOf({ rack, stack, slot }: SlotRef): string {
  return `${rack}/${stack}/${slot}`;
}
