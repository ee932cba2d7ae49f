/**
 * A rack whose boards, relays and time exist on paper: boards ask when they have
 * power and repeat themselves as firmware does, relays obey, hang, or lie.
 */

import {
  type MacAddress,
  milliseconds,
  parseIpv4Address,
  parseMacAddress,
} from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import type { PowerState, SlotRef } from "#protocol/node.ts";
import type { SwitchPort } from "#protocol/switch-port.ts";
import type { BootClient } from "../../../server/boot/client.ts";
import type { Subnet } from "../../../server/config.ts";
import type { LearningContext } from "../../../server/enrol/learning/context.ts";
import { createLearning, type LearningRoom } from "../../../server/enrol/learning/learning.ts";
import { PowerRefusedError, PowerStuckError } from "../../../server/errors.ts";
import { createEventBus } from "../../../server/events.ts";
import { createLeases } from "../../../server/lease/leases.ts";
import { silentLog } from "../../../server/log.ts";
import { createNodes } from "../../../server/node/nodes.ts";
import type { Power } from "../../../server/power/power.ts";
import { parseRackFile } from "../../../server/rack/rack-file.ts";
import { openSqliteStore } from "../../../server/store/sqlite.ts";
import type { Store } from "../../../server/store/store.ts";
import { manualClock, settle } from "../../support/manual-clock.ts";

const address = parseIpv4Address;
const bounces = 3;
const bounceTime = milliseconds(700);
export const subnet: Subnet = {
  cidr: "10.77.0.0/24",
  network: address("10.77.0.0"),
  netmask: address("255.255.255.0"),
  broadcast: address("10.77.0.255"),
  interface: "eth0",
  reserved: { first: address("10.77.0.10"), last: address("10.77.0.99") },
  dns: [],
  mode: "reservation",
  relays: [],
  domainSearch: [],
  ntp: [],
  routes: [],
  classes: [],
  secureBoot: "auto",
  leaseSeconds: 3600,
};

export const macOf = (number: number) =>
  parseMacAddress(
    `b8:27:eb:00:${(number >> 8).toString(16).padStart(2, "0")}:${(number & 255).toString(16).padStart(2, "0")}`,
  );

export type RelayFault = "stuck-on" | "stuck-off" | "inverted" | "bouncing" | "by-hand";

export interface Relay {
  /** What was ordered last. */
  ordered: "on" | "off";
  fault?: RelayFault;
  /** Bouncing: the contact is closed although it was told to open. */
  isBounced?: boolean;
}

export interface Board {
  readonly mac: MacAddress;
  /** Name of the outlet it hangs on; absent: it has power always. */
  outlet?: string;
  /** Milliseconds from power to the first DISCOVER. */
  readonly delay: number;
  /** Milliseconds between two. */
  readonly period: number;
  /** DISCOVERs until it gives up; it begins again with its power. */
  readonly attempts: number;
  /** Absent: it always has something to say. Power-ups at which it hangs. */
  readonly hangsAt?: readonly number[];
  readonly isDead?: boolean;
  readonly serial?: string;
  /** Where it asks; absent: {@link subnet}. */
  readonly subnet?: Subnet;
  readonly circuit?: BootClient["circuit"];
  /** Once it is answered, its agent calls so many milliseconds later; absent: never. */
  readonly bootMs?: number;
  /** What the switch tells the agent, 25 s after it called. */
  readonly hears?: readonly SwitchPort[];
}

/** How long the agent listens until the switch says something. */
const hearMs = milliseconds(25_000);

/** When a process of the server ends: at its n-th write of the record, or its n-th power command. */
export interface Death {
  readonly at: "before write" | "after write" | "after switch";
  readonly number: number;
}

interface Life {
  readonly end: AbortController;
}

export interface WorldOptions {
  readonly rack: string;
  /** Outlets can tell whether they are on. */
  readonly canQuery?: boolean;
  readonly boards?: readonly Board[];
  readonly faults?: Readonly<Record<string, RelayFault>>;
  /** A journal on disk, opened again with each start of the server; default: one in memory. */
  readonly journal?: string;
  readonly locate?: LearningContext["locate"];
  readonly subnets?: readonly Subnet[];
}

export function createWorld(options: WorldOptions) {
  let opened = openSqliteStore(options.journal ?? ":memory:");
  /** The one that is open now. */
  const store = new Proxy({} as Store, { get: (_, name) => opened[name as keyof Store] });
  const rack = parseRackFile(options.rack, "rack.yaml");
  store.racks.put(rack);
  const clock = manualClock();
  const relays = new Map<string, Relay>();
  const boards = [...(options.boards ?? [])];
  const lives = new Map<Board, Life>();
  const powerUps = new Map<Board, number>();
  const answered = new Map<MacAddress, string>();
  const published: DomainEvent[] = [];
  const windows: MacAddress[] = [];

  for (const stack of rack.stacks) {
    if (stack.outlet) relays.set(stack.name, { ordered: "off" });
    else
      for (const slot of stack.slots) relays.set(`${stack.name}/${slot.name}`, { ordered: "off" });
  }
  for (const [name, fault] of Object.entries(options.faults ?? {})) relayOf(name).fault = fault;

  function relayOf(name: string): Relay {
    const relay = relays.get(name);
    if (!relay) throw new RangeError(`no outlet ${name}`);
    return relay;
  }

  function hasPower({ outlet }: Board): boolean {
    return outlet === undefined || stateOf(outlet) === "on";
  }

  function stateOf(name: string): "on" | "off" {
    const { ordered, fault, isBounced } = relayOf(name);
    if (fault === "stuck-on") return "on";
    if (fault === "stuck-off") return "off";
    if (fault === "inverted") return ordered === "on" ? "off" : "on";
    if (fault === "bouncing" && isBounced) return ordered === "on" ? "off" : "on";
    return ordered;
  }

  /** Lets every board live that has power, and the others not. */
  function follow(): void {
    for (const board of boards) {
      const life = lives.get(board);
      if (hasPower(board) && !life) void live(board);
      if (!hasPower(board) && life) {
        life.end.abort();
        lives.delete(board);
      }
    }
  }

  async function live(board: Board): Promise<void> {
    const end = new AbortController();
    lives.set(board, { end });
    const powerUp = (powerUps.get(board) ?? 0) + 1;
    powerUps.set(board, powerUp);
    if (board.isDead || board.hangsAt?.includes(powerUp)) return;
    for (let attempt = 0; attempt < board.attempts; attempt++) {
      await clock.sleep(milliseconds(attempt === 0 ? board.delay : board.period), end.signal);
      if (end.signal.aborted) return;
      if (ask(board))
        return await boot(board, `boot-${board.mac.slice(-5)}-${powerUp}`, end.signal);
    }
  }

  /** The agent calls, and tells later what it hears of its switch. */
  async function boot({ mac, bootMs, hears }: Board, bootId: string, power: AbortSignal) {
    if (bootMs === undefined) return;
    const untilServed = async (time: number) => {
      await clock.sleep(milliseconds(time), power);
      while (!power.aborted && !server.isAlive()) await clock.sleep(milliseconds(5000), power);
    };
    await untilServed(bootMs);
    const id = store.nodes.byMac(mac)?.id;
    if (power.aborted || id === undefined) return;
    const said = { role: "netinst", version: "1", hostname: "netinst", uptimeSeconds: 9 } as const;
    const ip = store.reservations.byMac(mac)?.address ?? address("10.77.0.254");
    server.nodes.checkIn(id, { ...said, bootId: bootId.replace(":", ""), usedMemoryMiB: 90 }, ip);
    if (!hears) return;
    await untilServed(hearMs);
    if (power.aborted) return;
    const switchPorts = { heard: hears, at: clock.now(), bootId: bootId.replace(":", "") };
    server.nodes.update(id, { switchPorts });
  }

  /** True when it is answered, and boots. */
  function ask({ mac, serial, circuit, subnet: asksIn = subnet }: Board): boolean {
    const client: BootClient = {
      ...{ mac, firmware: "raspberry-pi-3", ipxe: false, architectures: [0] },
      ...(serial !== undefined && { serial }),
      ...(circuit && { circuit }),
    };
    if (server.isAlive()) server.nodes.heard(client); // as main.ts does with the event
    const admitted = server.learning.heard(client, asksIn);
    const found = store.reservations.byMac(mac) ?? admitted;
    if (found === undefined || found === "wait") return false;
    answered.set(mac, found.address);
    return true;
  }

  /** A contact that bounces: it opens again and again after it was told to close. */
  async function bounceFor(relay: Relay): Promise<void> {
    for (let count = 0; count < bounces * 2 && relay.ordered === "on"; count++) {
      await clock.sleep(bounceTime);
      relay.isBounced = count % 2 === 0 && relay.ordered === "on";
      follow();
    }
    relay.isBounced = false;
    follow();
  }

  const setRelay = async (name: string, state: "on" | "off"): Promise<void> => {
    const relay = relayOf(name);
    if (relay.fault === "by-hand") throw new PowerRefusedError(`please switch ${name} ${state}`);
    relay.ordered = state;
    follow();
    if (relay.fault === "bouncing" && state === "on") void bounceFor(relay);
    if (!options.canQuery || stateOf(name) === state) return;
    throw new PowerStuckError(`outlet ${name} is still ${stateOf(name)}`, stateOf(name));
  };

  const outletOf = ({ stack, slot }: Omit<SlotRef, "slot"> & { slot?: string }) =>
    relays.has(stack) ? stack : `${stack}/${slot}`;

  /** What one process of the server has; a killed one can do nothing more. */
  function startServer(isResumed: boolean) {
    let isAlive = true;
    const alive = <Args extends readonly unknown[], Result>(work: (...args: Args) => Result) => {
      return (...args: Args): Result => {
        if (!isAlive) throw new Killed("the server was killed");
        return work(...args);
      };
    };
    const switched = async (
      ref: Omit<SlotRef, "slot"> & { slot?: string },
      state: "on" | "off",
    ) => {
      if (!isAlive) throw new Killed("the server was killed");
      await setRelay(outletOf(ref), state);
      switches += 1;
      die("after switch", switches);
      if (!isAlive) throw new Killed("the server was killed");
      for (const slot of slotsBehind(ref)) {
        events.publish({ topic: "power", slot, state, ok: true });
      }
    };
    const power: Pick<Power, "set" | "setStack" | "query" | "outletOf"> = {
      set: (slot, state) => switched(slot, state),
      setStack: (stack, state) => switched(stack, state),
      query: async (slot): Promise<PowerState> =>
        options.canQuery ? stateOf(outletOf(slot)) : "unknown",
      outletOf: ({ stack, slot }) => {
        const found = rack.stacks.find((one) => one.name === stack);
        return found?.slots.find((one) => one.name === slot)?.outlet ?? found?.outlet;
      },
    };
    const events = createEventBus(silentLog);
    events.subscribe((event) => published.push(event));
    const nodes = createNodes({ store, events, clock, log: silentLog });
    const leases = createLeases({ store, clock, events });
    let writes = 0;
    let switches = 0;
    let end: Death | undefined;
    const kill = () => {
      isAlive = false;
    };
    const die = (at: Death["at"], number: number) => {
      if (end?.at !== at || end.number !== number) return;
      kill();
      if (at === "before write") throw new Killed("the server was killed");
    };
    const learning: LearningRoom = createLearning({
      ...{ nodes, leases, power, events, clock, log: silentLog },
      store: {
        racks: store.racks,
        reservations: store.reservations,
        nodes: store.nodes,
        tasks: store.tasks,
        transaction: alive(store.transaction),
        learnings: {
          newest: store.learnings.newest,
          put: alive((record) => {
            writes += 1;
            die("before write", writes);
            store.learnings.put(record);
            die("after write", writes);
          }),
        },
      },
      windows: { open: (mac) => void windows.push(mac) },
      subnets: options.subnets ?? [subnet],
      ...(options.locate && { locate: options.locate }),
    });
    if (isResumed) learning.resume();
    return {
      ...{ learning, nodes, leases, events, kill },
      killAt: (death: Death) => {
        end = death;
      },
      isAlive: () => isAlive,
      writes: () => writes,
      switches: () => switches,
    };
  }

  function slotsBehind({ rack: name, stack, slot }: Omit<SlotRef, "slot"> & { slot?: string }) {
    const found = rack.stacks.find((one) => one.name === stack);
    const slots = found?.outlet ? found.slots.map((one) => one.name) : slot ? [slot] : [];
    return slots.map((one) => ({ rack: name, stack, slot: one }));
  }

  async function startAgain(): Promise<void> {
    if (options.journal !== undefined) {
      opened.close();
      opened = openSqliteStore(options.journal);
    }
    server = startServer(true);
    await settle();
  }

  let server = startServer(false);
  follow();

  return {
    ...{ store, clock, rack, relays, boards, published, windows, answered, relayOf, follow },
    server: () => server,
    learning: () => server.learning,
    /** Kills the server if it lives, and starts the next one. */
    restart: async () => {
      server.kill();
      await startAgain();
    },
    isOn: (name: string) => stateOf(name) === "on",
    lit: () => [...relays.keys()].filter((name) => stateOf(name) === "on"),
    powerUpsOf: (board: Board) => powerUps.get(board) ?? 0,
    /** A board says something now, whatever its power. */
    say: async (mac: MacAddress, facts: Partial<Board> = {}) => {
      ask({ mac, delay: 0, period: 0, attempts: 1, ...facts });
      await settle();
    },
    /** Moves a relay as if its contact bounced. */
    bounce: (name: string, isBounced: boolean) => {
      relayOf(name).isBounced = isBounced;
      follow();
    },
    /** Lets time pass until the learning has ended; restarts a server that was killed. */
    untilEnded: async (onRestart?: () => void) => {
      for (let minute = 0; minute < 600; minute++) {
        if (!server.isAlive()) {
          await startAgain();
          onRestart?.();
        }
        if (server.isAlive() && server.learning.status().state !== "running") return;
        await clock.advance(20_000);
      }
      throw new Error(`learning goes on: ${JSON.stringify(server.learning.status().doing)}`);
    },
  };
}

export type World = ReturnType<typeof createWorld>;

class Killed extends Error {}

export const outlet = (name: string) =>
  `{ driver: qemu, settings: { socket: /run/rack.sock, outlet: ${name} } }`;

/** Stacks `s1`…, each with one outlet for all of its slots; `hasPorts`: at the ports `s1-1`… of one switch. */
export function sharedRack(stacks: number, perStack: number, hasPorts = false): string {
  const slots = hasPorts ? `{ count: ${perStack}, port: "{stack}-{slot}" }` : perStack;
  const lines = Array.from(
    { length: stacks },
    (_, index) =>
      `  - { name: s${index + 1}, slots: ${slots}, outlet: ${outlet(`s${index + 1}`)} }`,
  );
  return `name: r\nstacks:\n${lines.join("\n")}\n`;
}

/** The same with an outlet for each slot. */
export function ownRack(
  stacks: number,
  perStack: number,
  extra: (stack: number, slot: number) => string = () => "",
): string {
  const lines = Array.from({ length: stacks }, (_, index) => {
    const slots = Array.from({ length: perStack }, (_, slot) => {
      const name = `${index + 1}-${slot + 1}`;
      return `      - { name: ${slot + 1}, outlet: ${outlet(name)}${extra(index + 1, slot + 1)} }`;
    });
    return `  - name: s${index + 1}\n    slots:\n${slots.join("\n")}`;
  });
  return `name: r\nstacks:\n${lines.join("\n")}\n`;
}

/** A board that boots in `delay` and repeats itself as a Raspberry Pi does. */
export function board(
  number: number,
  outletName: string | undefined,
  change: Partial<Board> = {},
): Board {
  return {
    mac: macOf(number),
    ...(outletName !== undefined && { outlet: outletName }),
    ...{ delay: 6000, period: 5000, attempts: 5 },
    ...change,
  };
}
