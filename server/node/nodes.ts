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
  type Instant,
  type Ipv4Address,
  type MacAddress,
  type Milliseconds,
  milliseconds,
  type NodeId,
} from "#protocol/brand.ts";
import type { Architecture } from "#protocol/firmware.ts";
import {
  type AgentSession,
  type Hardware,
  type Node,
  type Protection,
  type SlotRef,
  slotText,
} from "#protocol/node.ts";
import type { BootClient } from "../boot/client.ts";
import type { Clock } from "../clock.ts";
import { ConflictError, InvalidInputError, NotFoundError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { Log } from "../log.ts";
import type { Store } from "../store/store.ts";
import { factsOf, isStranger, isSwapped, nameOfMac, whyAnother } from "./identity.ts";
import { createMachines } from "./machines.ts";
import { isSame } from "./same.ts";

/** Three missed check-ins of 15 s. */
export const offlineAfter = milliseconds(45_000);
/** Least time between two journal writes that only move `lastSeen`; nobody is told of them. */
const lastSeenWritten = milliseconds(600_000);
/** Nodes kept of which only a boot ROM's word is known; the oldest is forgotten for the next. */
const maxStrangers = 256;
/** A host name label (RFC 1123 §2.1), lower case. */
const namePattern = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** What an admin or a room may change. The rest follows from what the node does. */
type Changeable = Omit<Node, "id" | "mac" | "createdAt" | "updatedAt">;
/** A member given as `undefined` is removed. */
export type NodeChange = { readonly [Name in keyof Changeable]?: Changeable[Name] | undefined };

/**
 * Asked when a node in its slot calls with its certificate and would become `ready`. What it
 * answers becomes part of the same change, and so does all it writes to the journal meanwhile;
 * with `{ state: "enrolled" }` the node waits, and its next check-in asks again.
 */
export type Admission = (node: Node) => NodeChange;

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
      /** Absent: it is to be renewed at once. */
      readonly certificateUntil?: Instant;
      readonly hardware: Hardware;
      readonly architecture: Architecture;
      /** By the one-time token of a boot script, as netinst does and no installed system. */
      readonly byToken?: boolean;
    },
  ): Node;
  /** The node's certificate is worth nothing from now on, and it is held back until an admin approves it. */
  revoke(id: NodeId, reason: string): Node;
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
  /** No job may write the disk, in whatever node it is; undefined releases it. */
  protectDisk(serial: string, protection: Protection | undefined): void;
  /** Who decides what a node does first; without one it is simply `ready`. */
  admitBy(admission: Admission): void;
  /** Time since the last check-in or heartbeat this process saw; infinite when it saw none. */
  silence(id: NodeId): Milliseconds;
}

interface NodesContext {
  readonly store: Store;
  readonly events: EventBus;
  readonly clock: Clock;
  /** Counts how long a node with this address is silent. Default: `clock`. */
  readonly clockOf?: (address: Ipv4Address | undefined) => Pick<Clock, "monotonic">;
  readonly log: Log;
}

/** The last sign of a node's agent, and the clock that counts its silence since. */
interface Sign {
  readonly at: Milliseconds;
  readonly clock: Pick<Clock, "monotonic">;
  /** When the journal took it, by the clock of all. */
  readonly written: number;
  /** For people; durations are monotonic, since wall clocks jump. */
  readonly lastSeen?: Instant;
}

export function createNodes(context: NodesContext): Nodes {
  const { store, events, clock, log, clockOf = () => clock } = context;
  const machines = createMachines({ store, events, clock });
  let admission: Admission = () => ({});
  const seen = new Map<NodeId, Sign>();
  const sign = (address: Ipv4Address | undefined, written: number, lastSeen?: Instant): Sign => {
    const own = clockOf(address);
    return {
      at: own.monotonic(),
      clock: own,
      written,
      ...(lastSeen !== undefined && { lastSeen }),
    };
  };
  const silenceSince = ({ at, clock }: Sign) => (clock.monotonic() - at) as Milliseconds;
  // After a start every node that was online gets the full time to call again.
  for (const node of store.nodes.list()) {
    if (node.connection === "online") {
      seen.set(node.id, sign(node.address, clock.monotonic()));
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
    if (lastSeen === undefined || !node.agent || node.agent.lastSeen === lastSeen) return node;
    return { ...node, agent: { ...node.agent, lastSeen } };
  };
  const currentOrNone = (node: Node | undefined) => node && current(node);

  const save = (node: Node, before?: Node): Node =>
    store.transaction(() => {
      store.nodes.put(node);
      if (before) machines.tell(before, node);
      store.afterCommit(() => events.publish({ topic: "node", node }));
      return node;
    });

  const update = (id: NodeId, { hardware, ...change }: NodeChange): Node => {
    const before = existing(id);
    const after = withChange(before, {
      ...change,
      ...(hardware && { hardware: machines.marked(hardware) }),
    });
    if (after.name !== before.name) checkName(after, store);
    if (isSame(before, after)) return before;
    return save({ ...after, updatedAt: clock.now() }, before);
  };

  /** It has shown its certificate, somebody knows where it is, and no test of it is under way. */
  const mayBecomeReady = ({ id, state, slot, quarantined }: Node): boolean =>
    state === "enrolled" &&
    slot !== undefined &&
    !quarantined &&
    !store.tasks.unfinishedOf(id).some(({ kind }) => kind === "burn-in");

  /** @param node - as its check-in left it, not stored yet */
  const admit = (before: Node, node: Node): Node =>
    store.transaction(() => {
      const ready: Node = { ...node, state: "ready" };
      const after = withChange(ready, admission(ready));
      const isKnown = isSame(withoutLastSeen(before), withoutLastSeen(after));
      return isKnown ? after : save({ ...after, updatedAt: clock.now() }, before);
    });

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

  /** What the system on its disk is known by, which waits while netinst runs. */
  const certificateOfDisk = (node: Node, byToken: boolean): Node["nextCertificate"] => {
    const { id, image, agent, certificate, certificateUntil: until, nextCertificate } = node;
    // A job may be cancelled while the node is on its way to netinst: it still comes there.
    const isLent = byToken || store.tasks.unfinishedOf(id)[0]?.state === "running";
    if (image === undefined || !isLent) return undefined;
    if (agent?.role === "netinst" && nextCertificate) return nextCertificate; // netinst once more
    return certificate === undefined || until === undefined
      ? undefined
      : { fingerprint: certificate, until };
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
        .find((one) => one.mac !== mac && one.slot && isSame(one.slot, slot));
      if (occupant) {
        throw new ConflictError(
          `slot ${slotText(slot)} already holds ${occupant.name} (${occupant.mac})`,
        );
      }
      const known = store.nodes.byMac(mac);
      const node = known ?? create(mac, name, {});
      return update(node.id, { slot, name, address, state: stateOncePlaced(node) });
    },

    enrolled(id, { certificate, certificateUntil, hardware, architecture, byToken = false }) {
      const node = existing(id);
      const fresh = node.state === "discovered" || node.state === "retired";
      const swapped = isSwapped(node.hardware, hardware);
      if (swapped) log.warn({ node: id, mac: node.mac, serial: hardware.serial }, "node swapped");
      const ofDisk = certificateOfDisk(node, byToken);
      return update(id, {
        ...withoutCredential,
        // Netinst has enrolled: should the installed system come back instead, it is still itself.
        ...(ofDisk && { nextCertificate: ofDisk }),
        certificate,
        certificateUntil,
        hardware,
        architecture,
        ...(hardware.serial !== undefined && { serial: hardware.serial }),
        ...(hardware.uuid !== undefined && { uuid: hardware.uuid }),
        ...(fresh && { state: "enrolled" }),
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
        ...(checkIn.hardware && { hardware: machines.marked(checkIn.hardware) }),
      };
      const after = withChange(node, change);
      if (mayBecomeReady(after)) {
        seen.set(id, sign(address, now, agent.lastSeen));
        return admit(node, after);
      }
      const onlyLastSeen = isSame(withoutLastSeen(node), withoutLastSeen(after));
      if (onlyLastSeen && now - written < lastSeenWritten) {
        seen.set(id, sign(address, written, agent.lastSeen));
        return after;
      }
      seen.set(id, sign(address, now, agent.lastSeen));
      if (!onlyLastSeen) return save({ ...after, updatedAt: clock.now() }, node);
      store.nodes.put(after);
      return after;
    },

    heartbeat(id) {
      const node = existing(id);
      const written = seen.get(id)?.written ?? Number.NEGATIVE_INFINITY;
      seen.set(id, sign(node.address, written, clock.now()));
      const change = { connection: "online", power: "on" } as const;
      if (mayBecomeReady(node)) admit(node, withChange(node, change));
      else if (node.connection !== "online" || node.power !== "on") update(id, change);
    },

    markOffline() {
      for (const [id, last] of seen) {
        if (silenceSince(last) < offlineAfter) continue;
        const node = store.nodes.get(id);
        if (node?.connection !== "online") continue;
        update(id, { connection: "offline", agent: current(node).agent });
      }
    },

    update,
    quarantine: (id, reason) => update(id, { quarantined: true, reason }),

    silence(id) {
      const last = seen.get(id);
      return last ? silenceSince(last) : (Number.POSITIVE_INFINITY as Milliseconds);
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
        ...withoutCredential,
        ...{ slot: undefined, address: undefined, reason: undefined },
        ...{ rule: undefined, burnIn: undefined },
      });
    },

    protectDisk: (serial, protection) =>
      store.transaction(() => {
        if (protection) store.protectedDisks.put({ serial, ...protection });
        else store.protectedDisks.delete(serial);
        for (const { id, hardware } of store.nodes.list()) {
          const holds = hardware?.disks.some((disk) => disk.serial === serial);
          if (holds) update(id, { hardware });
        }
      }),

    admitBy(given) {
      admission = given;
    },

    revoke(id, reason) {
      seen.delete(id);
      return update(id, {
        ...withoutCredential,
        connection: "offline",
        quarantined: true,
        reason,
      });
    },

    approve(id) {
      // What identified the board goes too: an exchanged one tells its own at the enrolment that follows.
      const unknown = {
        reason: undefined,
        serial: undefined,
        hardware: undefined,
        uuid: undefined,
      };
      const change = { ...unknown, asks: undefined, quarantined: false };
      return save(withChange({ ...existing(id), updatedAt: clock.now() }, change));
    },
  };
}

const withoutCredential: NodeChange = {
  certificate: undefined,
  certificateUntil: undefined,
  nextCertificate: undefined,
  asks: undefined,
};

/** A board that was put away is back. One that has enrolled becomes `ready` with its next check-in. */
function stateOncePlaced({ state }: Node): Node["state"] {
  return state === "retired" ? "discovered" : state;
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

function sessionOf(
  node: Node,
  { role, version, bootId, hostname, system, program }: CheckIn,
  address: Ipv4Address,
  clock: Clock,
): AgentSession {
  const now = clock.now();
  const same =
    node.connection === "online" && node.agent?.bootId === bootId && node.agent.role === role;
  const since = same && node.agent ? node.agent.since : now;
  return {
    ...{ role, version, bootId, hostname, address, since, lastSeen: now },
    ...(system && { system }),
    ...(program && { program }),
  };
}

function withoutLastSeen(node: Node): unknown {
  return { ...node, agent: node.agent && { ...node.agent, lastSeen: 0 } };
}

function withChange(node: Node, change: NodeChange): Node {
  const merged: Partial<Node> = { ...node, ...change } as Node;
  for (const name of Object.keys(change) as (keyof NodeChange)[]) {
    if (change[name] === undefined) delete merged[name];
  }
  return merged as Node;
}
