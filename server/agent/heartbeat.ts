/**
 * Hears the beats of nodes that have nothing to do, and calls those for which there is an
 * assignment (protocol/heartbeat.ts). UDP on the port of the agent listener.
 *
 * A node's key follows from its certificate and its boot: a server that starts again knows
 * the beats of all nodes at once, and ten thousand of them need no handshake. Only who sent a
 * genuine beat is answered, with less than it sent.
 */

import { createHmac, randomBytes } from "node:crypto";
import { type Ipv4Address, type Milliseconds, milliseconds, type NodeId } from "#protocol/brand.ts";
import {
  decodeBeat,
  encodeAnswer,
  type HeartbeatOffer,
  type Mac,
  macOctets,
  wants,
} from "#protocol/heartbeat.ts";
import type { Node } from "#protocol/node.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Site } from "../enrol/authority.ts";
import type { Jobs } from "../job/jobs.ts";
import type { Log } from "../log.ts";
import { openDatagramSocket, type Sender } from "../net/udp.ts";
import type { Nodes } from "../node/nodes.ts";
import type { Watching } from "../node/watching.ts";
import type { Store } from "../store/store.ts";
import { isGuest } from "./guest.ts";
import { createPlaces } from "./places.ts";

export type HeartbeatOutcome = "heard" | "renewed" | "malformed" | "refused" | "replayed";

export interface HeartbeatMetrics {
  heard(interfaceName: string, outcome: HeartbeatOutcome): void;
  called(interfaceName: string): void;
}

export interface Heartbeats {
  readonly port: number;
  /** What a node that has just checked in needs for its beats; earlier ones end. */
  offer(node: Node): HeartbeatOffer | undefined;
  close(): Promise<void>;
}

export interface HeartbeatsContext {
  readonly config: Pick<Config, "agentPort">;
  readonly address: Ipv4Address;
  readonly interfaceName?: string | undefined;
  readonly site: Pick<Site, "secret">;
  readonly nodes: Pick<Nodes, "get" | "heartbeat">;
  readonly jobs: Pick<Jobs, "assignmentNameFor" | "onAssignment">;
  readonly store: Pick<Store, "tasks">;
  readonly watching: Pick<Watching, "isMissed" | "onBegin">;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics?: HeartbeatMetrics | undefined;
}

/** Of one boot of one node. */
interface Session {
  readonly nodeId: NodeId;
  /** What the key was made of. */
  readonly certificate: string;
  readonly bootId: string;
  readonly mac: Mac;
  readonly key: Buffer;
  round: string;
  counter: number;
  serial: number;
  having: string;
  from: Sender | undefined;
  heardAt: Milliseconds;
  /** Called at its next beat. */
  onBeat: () => void;
}

const beatSeconds = 15;
/** A call may be lost, or its node busy: it is repeated until the node has the assignment. */
const callPauses = [300, 700, 1500, 3000].map(milliseconds);
/**
 * Nodes called that have not come so far: more would wait for the server's processor, which has
 * 0.5 ms to do for a TLS session that is resumed, and be called again meanwhile.
 */
const calledAtOnce = 64;
/** Whoever has not come by then makes room for another. */
const comesWithin = milliseconds(300);
/** Who was silent for longer is not called: the answer to its next beat does it. */
const present = milliseconds(45_000);

export async function startHeartbeats(context: HeartbeatsContext): Promise<Heartbeats> {
  const { config, address, interfaceName, site, nodes, jobs, store, watching, clock, log } =
    context;
  const name = interfaceName ?? address;
  const sessions = new Map<NodeId, Session>();
  const places = createPlaces(calledAtOnce);
  const closing = new AbortController();
  const socket = await openDatagramSocket(
    {
      ...(interfaceName !== undefined && { interface: interfaceName }),
      ...{ address, port: config.agentPort, busy: true },
    },
    log,
  );

  const newSession = (node: Node): Session | undefined => {
    const { id: nodeId, certificate, agent } = node;
    if (certificate === undefined || agent === undefined) return undefined;
    const { bootId } = agent;
    const key = site.secret(`heartbeat 1\n${nodeId}\n${certificate}\n${bootId}`);
    return {
      ...{ nodeId, certificate, bootId, key, mac: macBy(key), round: newRound() },
      ...{ counter: 0, serial: 0, having: "", from: undefined, heardAt: clock.monotonic() },
      onBeat: () => undefined,
    };
  };

  /** The session of this boot; another certificate or boot has another key. */
  const sessionOf = (node: Node): Session | undefined => {
    const known = sessions.get(node.id);
    const isOfNow = known?.certificate === node.certificate && known?.bootId === node.agent?.bootId;
    return isOfNow ? known : newSession(node);
  };

  /** Whether there is an assignment that the node does not know. */
  const isCallable = ({ having }: Session, node: Node): boolean => {
    const ordered = node.quarantined ? undefined : jobs.assignmentNameFor(node.id);
    return ordered !== undefined && ordered !== having;
  };

  const answer = (session: Session, to: Sender, counter: number, wanted: number): void => {
    const { round, mac } = session;
    const octets = encodeAnswer({ counter, round, serial: ++session.serial, wants: wanted }, mac);
    socket.send(octets, to.port, to.address);
  };

  const wantedOf = (session: Session, node: Node): number => {
    const isCalled = isCallable(session, node);
    if (isCalled) context.metrics?.called(name);
    const isToCheckIn = node.address !== session.from?.address || isGuest(node, store);
    const isMissed = watching.isMissed(node.id);
    return (
      (isCalled ? wants.assignment : 0) |
      (isToCheckIn ? wants.checkIn : 0) |
      (isMissed ? wants.load : 0)
    );
  };

  const hear = (octets: Uint8Array, from: Sender): HeartbeatOutcome => {
    const beat = decodeBeat(octets);
    if (!beat) return "malformed";
    const { nodeId, round, counter, having } = beat.message;
    const node = nodes.get(nodeId as NodeId);
    const session = node && sessionOf(node);
    if (!session || !beat.isGenuine(session.mac)) return "refused";
    sessions.set(node.id, session);
    if (round !== session.round) {
      answer(session, from, counter, 0);
      return "renewed";
    }
    if (counter <= session.counter) return "replayed";
    Object.assign(session, { counter, having, from, heardAt: clock.monotonic() });
    nodes.heartbeat(node.id);
    session.onBeat();
    answer(session, from, counter, wantedOf(session, node));
    return "heard";
  };

  /** @returns false when the node is to be called no more. */
  const callOnce = async (nodeId: NodeId): Promise<boolean> => {
    const session = sessions.get(nodeId);
    const node = nodes.get(nodeId);
    const isSilent = !session || clock.monotonic() - session.heardAt > present;
    if (!node || isSilent || !session.from || closing.signal.aborted) return false;
    const wanted = wantedOf(session, node);
    if ((wanted & (wants.assignment | wants.load)) === 0) return false;
    answer(session, session.from, session.counter, wanted);
    const hasCome = new AbortController();
    session.onBeat = () => hasCome.abort(undefined);
    await clock.sleep(comesWithin, AbortSignal.any([hasCome.signal, closing.signal]));
    return true;
  };

  /** Until the node's beat says that it has the assignment, and its load is told if somebody looks. */
  const call = async (nodeId: NodeId): Promise<void> => {
    for (const pause of callPauses) {
      await places.enter();
      const mayFollow = await callOnce(nodeId).finally(places.leave);
      if (!mayFollow) return;
      await clock.sleep(milliseconds(pause - comesWithin), closing.signal);
    }
  };

  socket.onMessage((octets, from) => {
    const outcome = hear(octets, from);
    context.metrics?.heard(name, outcome);
    if (outcome !== "heard") log.debug({ from: from.address, outcome }, "heartbeat");
  });
  const unsubscribe = [jobs.onAssignment, watching.onBegin].map((on) => on((id) => void call(id)));

  return {
    port: socket.port,
    offer(node) {
      const session = newSession(node);
      if (!session) return undefined;
      sessions.set(node.id, session);
      const { key, round } = session;
      return { port: socket.port, key: key.toString("base64"), round, seconds: beatSeconds };
    },
    close() {
      closing.abort();
      for (const end of unsubscribe) end();
      return socket.close();
    },
  };
}

function macBy(key: Buffer): Mac {
  return (octets) => createHmac("sha256", key).update(octets).digest().subarray(0, macOctets);
}

function newRound(): string {
  return randomBytes(16).toString("hex");
}
