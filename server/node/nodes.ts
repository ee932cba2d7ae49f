/**
 * The nodes: what we know of each computer, and the only place that changes it.
 *
 * Every change is in the journal before its `node` event is published. The
 * exception is `agent.lastSeen`: it moves with each check-in and heartbeat, is
 * kept in memory, and reaches the journal with the next real change, or with a
 * check-in {@link lastSeenWritten} later; it decides nothing after a restart.
 */

import { randomUUID } from "node:crypto";
import type { CheckIn } from "#protocol/agent.ts";
import {
  type Ipv4Address,
  type MacAddress,
  type Milliseconds,
  milliseconds,
  type NodeId,
} from "#protocol/brand.ts";
import { canonicalJson } from "#protocol/discovery.ts";
import { type Architecture, architectureOf, type FirmwareName } from "#protocol/firmware.ts";
import type { AgentSession, Hardware, Node, SlotRef } from "#protocol/node.ts";
import type { BootClient } from "../boot/client.ts";
import type { Clock } from "../clock.ts";
import { ConflictError, InvalidInputError, NotFoundError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { Log } from "../log.ts";
import type { Store } from "../store/store.ts";

/** Three missed check-ins of 15 s. */
export const offlineAfter = milliseconds(45_000);
/** Least time between two journal writes that only move `lastSeen`; nobody is told of them. */
const lastSeenWritten = milliseconds(600_000);
/** Nodes kept of which only a boot ROM's word is known; the oldest is forgotten for the next. */
const maxStrangers = 256;
/** A host name label (RFC 1123 §2.1), lower case. */
const namePattern = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** Sent by an old Raspberry Pi ROM, QEMU and careless vendors: no identity. */
const constantUuid = /^(?:0{8}-0{4}-0{4}-0{4}-0{12}|f{8}-f{4}-f{4}-f{4}-f{12})$/i;

/** What an admin or a room may change. The rest follows from what the node does. */
type Changeable = Omit<Node, "id" | "mac" | "createdAt" | "updatedAt">;
/** A member given as `undefined` is removed. */
export type NodeChange = { readonly [Name in keyof Changeable]?: Changeable[Name] | undefined };

export interface Nodes {
  get(id: NodeId): Node | undefined;
  byMac(mac: MacAddress): Node | undefined;
  byName(name: string): Node | undefined;
  /** By name. */
  list(): readonly Node[];
  /** A boot client asked by DHCP. Creates the node as `discovered` when its MAC address is new. */
  heard(client: BootClient, address?: Ipv4Address): Node;
  /**
   * Learning found where the node is.
   *
   * @throws ConflictError when the name or the slot belongs to another node.
   */
  place(mac: MacAddress, slot: SlotRef, name: string, address: Ipv4Address): Node;
  /** The node holds a new certificate; the one before it is worth nothing from now on. */
  enrolled(
    id: NodeId,
    facts: {
      readonly certificate: string;
      readonly hardware: Hardware;
      readonly architecture: Architecture;
    },
  ): Node;
  /** @throws NotFoundError */
  checkIn(id: NodeId, checkIn: CheckIn, address: Ipv4Address): Node;
  /** Its agent has nothing new to say. @throws NotFoundError */
  heartbeat(id: NodeId): void;
  /** Run it every 5 s: a node without check-in or heartbeat for 45 s becomes `offline`. */
  markOffline(): void;
  /** Stores, then publishes. Nothing happens when nothing would change. @throws NotFoundError, ConflictError */
  update(id: NodeId, change: NodeChange): Node;
  /** Holds the node back from jobs and enrolment until an admin approves it. */
  quarantine(id: NodeId, reason: string): Node;
  /** Ends quarantine. */
  approve(id: NodeId): Node;
  /**
   * The board is gone for good: its slot and name are free for its successor, its
   * certificate is worth nothing. Its record and history stay, under its MAC address.
   *
   * @throws NotFoundError, or ConflictError while it has a task
   */
  retire(id: NodeId): Node;
  /** Time since the last check-in or heartbeat this process saw; infinite when it saw none. */
  silence(id: NodeId): Milliseconds;
}

interface NodesContext {
  readonly store: Store;
  readonly events: EventBus;
  readonly clock: Clock;
  readonly log: Log;
}

export function createNodes({ store, events, clock, log }: NodesContext): Nodes {
  /** Monotonic milliseconds of the last sign of its agent: wall clocks jump. `lastSeen` is for people. */
  const seen = new Map<
    NodeId,
    { readonly at: number; readonly written: number; readonly lastSeen?: Instant }
  >();
  // After a start every node that was online gets the full time to call again.
  for (const node of store.nodes.list()) {
    if (node.connection === "online") {
      seen.set(node.id, { at: clock.monotonic(), written: clock.monotonic() });
    }
  }

  const existing = (id: NodeId): Node => {
    const node = store.nodes.get(id);
    if (!node) throw new NotFoundError(`no node ${id}`);
    return node;
  };

  /** As the journal has it, but with the last sign of its agent. */
  const current = (node: Node): Node => {
    const lastSeen = seen.get(node.id)?.lastSeen;
    if (lastSeen === undefined || !node.agent) return node;
    return { ...node, agent: { ...node.agent, lastSeen } };
  };
  const currentOrNone = (node: Node | undefined) => node && current(node);

  const save = (node: Node): Node => {
    store.nodes.put(node);
    events.publish({ topic: "node", node });
    return node;
  };

  const update = (id: NodeId, change: NodeChange): Node => {
    const before = existing(id);
    const after = withChange(before, change);
    if (after.name !== before.name) checkName(after, store);
    if (sameText(before, after)) return before;
    return save({ ...after, updatedAt: clock.now() });
  };

  const create = (mac: MacAddress, name: string, facts: NodeChange): Node => {
    const now = clock.now();
    const node = withChange(
      {
        id: `node_${randomUUID()}` as NodeId,
        name,
        mac,
        state: "discovered",
        quarantined: false,
        power: "unknown",
        connection: "offline",
        createdAt: now,
        updatedAt: now,
      },
      facts,
    );
    checkName(node, store);
    log.info({ node: node.id, mac, name }, "node discovered");
    return save(node);
  };

  /** Nobody but a boot ROM has spoken for these, and anyone can invent one: oldest first. */
  const strangers = new Set<NodeId>(
    store.nodes
      .list()
      .filter(isStranger)
      .sort((a, b) => a.createdAt - b.createdAt)
      .map(({ id }) => id),
  );
  const makeRoom = () => {
    for (const id of strangers) {
      if (strangers.size < maxStrangers) return;
      strangers.delete(id);
      const node = store.nodes.get(id);
      if (node && isStranger(node) && store.tasks.ofNode(id, 1).length === 0) {
        store.nodes.delete(id);
        log.info({ node: id, mac: node.mac }, "unknown node forgotten: too many of them");
      }
    }
  };

  return {
    get: (id) => currentOrNone(store.nodes.get(id)),
    byMac: (mac) => currentOrNone(store.nodes.byMac(mac)),
    byName: (name) => currentOrNone(store.nodes.byName(name)),
    list: () => store.nodes.list().map(current),

    heard(client, address) {
      const known = store.nodes.byMac(client.mac);
      const facts = factsOf(client, known?.firmware, address);
      if (known) {
        const conflict = whyAnother(known, client);
        if (conflict !== undefined && !known.quarantined) {
          events.publish({ topic: "alarm", text: `${known.name} (${known.mac}): ${conflict}` });
        }
        return update(known.id, {
          ...facts,
          // What was recorded first stays, until an admin approves the exchange.
          ...(known.uuid !== undefined && { uuid: known.uuid }),
          ...(known.serial !== undefined && { serial: known.serial }),
          ...(conflict !== undefined && { quarantined: true, reason: conflict }),
        });
      }
      makeRoom();
      const node = create(client.mac, nameOfMac(client.mac), facts);
      strangers.add(node.id);
      return node;
    },

    place(mac, slot, name, address) {
      const occupant = store.nodes
        .list()
        .find((one) => one.mac !== mac && one.slot && sameText(one.slot, slot));
      if (occupant) {
        throw new ConflictError(
          `slot ${slot.rack}/${slot.stack}/${slot.slot} already holds ${occupant.name} (${occupant.mac})`,
        );
      }
      const known = store.nodes.byMac(mac);
      const node = known ?? create(mac, name, {});
      return update(node.id, { slot, name, address, state: stateOncePlaced(node) });
    },

    enrolled(id, { certificate, hardware, architecture }) {
      const node = existing(id);
      const fresh = node.state === "discovered" || node.state === "retired";
      const swapped = isSwapped(node.hardware, hardware);
      if (swapped) log.warn({ node: id, mac: node.mac, serial: hardware.serial }, "node swapped");
      return update(id, {
        certificate,
        hardware,
        architecture,
        ...(hardware.serial !== undefined && { serial: hardware.serial }),
        ...(hardware.uuid !== undefined && { uuid: hardware.uuid }),
        ...(fresh && { state: node.slot ? "ready" : "enrolled" }),
        ...(swapped && {
          quarantined: true,
          reason: `serial number was ${node.hardware?.serial}, is ${hardware.serial}: approve it if the computer was exchanged on purpose`,
        }),
      });
    },

    checkIn(id, checkIn, address) {
      const node = existing(id);
      const agent = sessionOf(node, checkIn, address, clock);
      const now = clock.monotonic();
      const written = seen.get(id)?.written ?? Number.NEGATIVE_INFINITY;
      const change: NodeChange = {
        agent,
        address,
        connection: "online",
        power: "on",
        ...(checkIn.hardware && { hardware: checkIn.hardware }),
        ...(node.state === "enrolled" && node.slot && { state: "ready" }),
      };
      const after = withChange(node, change);
      const onlyLastSeen = sameText(withoutLastSeen(node), withoutLastSeen(after));
      if (onlyLastSeen && now - written < lastSeenWritten) {
        seen.set(id, { at: now, written, lastSeen: agent.lastSeen });
        return after;
      }
      seen.set(id, { at: now, written: now, lastSeen: agent.lastSeen });
      if (!onlyLastSeen) return save({ ...after, updatedAt: clock.now() });
      store.nodes.put(after);
      return after;
    },

    heartbeat(id) {
      const { connection, power } = existing(id);
      const written = seen.get(id)?.written ?? Number.NEGATIVE_INFINITY;
      seen.set(id, { at: clock.monotonic(), written, lastSeen: clock.now() });
      if (connection === "online" && power === "on") return;
      update(id, { connection: "online", power: "on" });
    },

    markOffline() {
      const now = clock.monotonic();
      for (const [id, { at }] of seen) {
        if (now - at < offlineAfter) continue;
        if (store.nodes.get(id)?.connection === "online") update(id, { connection: "offline" });
      }
    },

    update,
    quarantine: (id, reason) => update(id, { quarantined: true, reason }),

    silence(id) {
      const at = seen.get(id)?.at;
      return (at === undefined ? Number.POSITIVE_INFINITY : clock.monotonic() - at) as Milliseconds;
    },

    retire(id) {
      const node = existing(id);
      const [task] = store.tasks.unfinishedOf(id);
      if (task) {
        throw new ConflictError(`node ${node.name} has the task ${task.kind}: cancel it first`);
      }
      seen.delete(id);
      return update(id, {
        state: "retired",
        name: nameOfMac(node.mac),
        connection: "offline",
        quarantined: false,
        ...{ slot: undefined, address: undefined, certificate: undefined, reason: undefined },
      });
    },

    approve(id) {
      // What identified the board goes too: an exchanged one tells its own at the enrolment that follows.
      const { reason: _, serial: __, hardware: ___, uuid: ____, ...node } = existing(id);
      return save({ ...node, quarantined: false, updatedAt: clock.now() });
    },
  };
}

function stateOncePlaced({ state }: Node): Node["state"] {
  if (state === "enrolled") return "ready";
  return state === "retired" ? "discovered" : state; // a board that was put away is back
}

/** Made from the MAC address, for a node that no rack file names: `node-dca632010203`. */
export function nameOfMac(mac: MacAddress): string {
  return `node-${mac.replaceAll(":", "")}`;
}

/** @throws InvalidInputError or ConflictError */
function checkName(node: Node, store: Store): void {
  if (!namePattern.test(node.name)) {
    throw new InvalidInputError(`not a host name: ${JSON.stringify(node.name)}`, [
      { pointer: "/name", detail: "1-63 of a-z, 0-9 and hyphen, no hyphen at either end" },
    ]);
  }
  const other = store.nodes.byName(node.name);
  if (other && other.id !== node.id) {
    throw new ConflictError(`the name ${node.name} belongs to ${other.mac}`);
  }
}

/**
 * @param before - the firmware recorded so far. iPXE follows a firmware within
 *   one boot; it is recorded only where nothing was heard before it.
 */
function factsOf(
  client: BootClient,
  before: FirmwareName | undefined,
  address: Ipv4Address | undefined,
): NodeChange {
  // A running OS of a Raspberry Pi looks like its ROM when only the vendor part of the MAC tells.
  const follows = client.ipxe || client.byOui === true;
  const firmware = follows && before !== undefined ? before : client.firmware;
  const uuid =
    client.uuid !== undefined && !constantUuid.test(client.uuid) ? client.uuid : undefined;
  return {
    ...(firmware && { firmware, architecture: architectureOf(firmware) }),
    ...(client.serial !== undefined && { serial: client.serial }),
    ...(uuid !== undefined && { uuid }),
    ...(address !== undefined && { address }),
    // A ROM speaks: whatever the outlet's record says, there is power.
    ...(client.firmware !== undefined && { power: "on" }),
  };
}

/** Heard, and nothing else: no slot, no enrolment, no word of an admin. */
function isStranger({ state, slot, certificate, quarantined, name, mac }: Node): boolean {
  const unclaimed = state === "discovered" && !slot && certificate === undefined && !quarantined;
  return unclaimed && name === nameOfMac(mac);
}

/**
 * Two computers with one MAC address, or another board in a known one's place: its disks
 * may hold what nobody agreed to wipe. Undefined: it says what it said before, or nothing.
 */
function whyAnother(node: Node, { uuid, serial }: BootClient): string | undefined {
  const because = (what: string, before: string, now: string) =>
    `its firmware says ${what} ${now}, recorded is ${before}: two computers with one MAC address, or an exchanged board; approve it if it was exchanged on purpose`;
  if (
    uuid !== undefined &&
    node.uuid !== undefined &&
    ![uuid, node.uuid].some((one) => constantUuid.test(one)) &&
    !isSameUuid(uuid, node.uuid)
  ) {
    return because("UUID", node.uuid, uuid);
  }
  if (serial !== undefined && node.serial !== undefined && !isSameSerial(serial, node.serial)) {
    return because("serial number", node.serial, serial);
  }
  return undefined;
}

/** Firmwares disagree on the order of octets in the first three fields (RFC 4578 §2.3, SMBIOS 2.6). */
function isSameUuid(a: string, b: string): boolean {
  const turned = (text: string) =>
    text.replace(/^(..)(..)(..)(..)-(..)(..)-(..)(..)-/, "$4$3$2$1-$6$5-$8$7-");
  const [one, other] = [a.toLowerCase(), b.toLowerCase()];
  return one === other || turned(one) === other;
}

/** A Raspberry Pi's ROM sends the low four octets of its serial, some EEPROMs in the other order. */
function isSameSerial(sent: string, recorded: string): boolean {
  const low = recorded.toLowerCase().slice(-8);
  if (!/^[0-9a-f]{8}$/.test(low) || !/^[0-9a-f]{8}$/i.test(sent.slice(-8))) return true;
  const octets = sent.toLowerCase().slice(-8);
  return octets === low || octets.replace(/(..)(..)(..)(..)/, "$4$3$2$1") === low;
}

/** Another computer behind a known MAC address: its disks may hold what nobody agreed to wipe. */
function isSwapped(before: Hardware | undefined, after: Hardware): boolean {
  return (
    before?.serial !== undefined && after.serial !== undefined && before.serial !== after.serial
  );
}

function sessionOf(
  node: Node,
  { role, version, bootId, hostname }: CheckIn,
  address: Ipv4Address,
  clock: Clock,
): AgentSession {
  const now = clock.now();
  const same =
    node.connection === "online" && node.agent?.bootId === bootId && node.agent.role === role;
  const since = same && node.agent ? node.agent.since : now;
  return { role, version, bootId, hostname, address, since, lastSeen: now };
}

function withoutLastSeen(node: Node): unknown {
  return { ...node, agent: node.agent && { ...node.agent, lastSeen: 0 } };
}

function withChange(node: Node, change: NodeChange): Node {
  const merged = { ...node, ...change };
  return Object.fromEntries(
    Object.entries(merged).filter(([, value]) => value !== undefined),
  ) as unknown as Node;
}

/** Equal as JSON, whatever the order of members. */
function sameText(a: unknown, b: unknown): boolean {
  return canonicalJson(a) === canonicalJson(b);
}
