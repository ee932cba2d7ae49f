/**
 * Many agents in one process, as the server sees them: each with its certificate, its own
 * heartbeat and, when it is called, its own TLS connection (netinst/agent.ts). What they are
 * told to do they have done at once: each order is followed by the check-in of another boot.
 * Runs in the namespace of the nodes and tells, a line of JSON each:
 *
 *   -> {"online":10000}                        whenever a thousand more have checked in
 *   -> {"lost":"agent 7: read ECONNRESET"}     it connects again
 *   -> {"assigned":"task_…","at":1234.5}       milliseconds since the epoch, when the order arrived
 *
 *   node load-agents.ts <seed.json> <agent URL> <how many cannot use UDP>
 */

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Assignment, CheckIn, CheckInAnswer, SignedAssignment } from "#protocol/agent.ts";
import { type Connection, connect } from "../../netinst/connection.ts";
import { reasonOf } from "../../netinst/errors.ts";
import { startHeartbeat } from "../../netinst/heartbeat.ts";

export interface Seed {
  readonly authorityPem: string;
  /** One key for all: their certificates tell them apart. */
  readonly keyPem: string;
  readonly nodes: readonly { readonly name: string; readonly certificate: string }[];
}

/** As the real agent: netinst/agent.ts. */
const checkInMs = 15_000;
const restfulCheckInMs = 15 * 60_000;
const failedCheckInMs = 3000;
const handshakesAtOnce = 50;
const forever = new AbortController().signal;

/** A line of standard output. */
export type AgentsMessage =
  | { readonly online: number }
  | { readonly lost: string }
  | { readonly assigned: string; readonly at: number };

const say = (message: AgentsMessage) => process.stdout.write(`${JSON.stringify(message)}\n`);

const onlineNow = new Set<number>();

function setOnline(index: number, count: number): void {
  if (onlineNow.has(index)) return;
  onlineNow.add(index);
  if (onlineNow.size % 1000 === 0 || onlineNow.size === count) say({ online: onlineNow.size });
}

function checkIn(connection: Connection, hostname: string, boot: number): Promise<CheckInAnswer> {
  const body: CheckIn = {
    role: "resident",
    version: "load",
    bootId: `boot-${boot}`,
    hostname,
    uptimeSeconds: 1,
    usedMemoryMiB: 64,
    ...(boot === 1 && {
      hardware: { model: "simulated", cpus: 4, memoryMiB: 4096, disks: [], interfaces: [] },
    }),
  };
  return connection.post("/agent/v1/check-in", body, forever) as Promise<CheckInAnswer>;
}

async function nextOrder(connection: Connection, waitMs: number, having: string | undefined) {
  const known = having === undefined ? "" : `&known=${encodeURIComponent(having)}`;
  const path = `/agent/v1/assignment?wait=${Math.ceil(waitMs / 1000)}${known}`;
  const signed = (await connection.get(path, waitMs + 15_000, forever)) as
    | SignedAssignment
    | undefined;
  return signed && (JSON.parse(signed.assignment) as Assignment);
}

interface Agent {
  readonly url: URL;
  readonly index: number;
  readonly count: number;
  readonly isUdpBlocked: boolean;
  /** Outlives a lost connection, as the machine does. */
  boot: number;
}

async function live(seed: Seed, agent: Agent, begin: () => void): Promise<void> {
  const { url, index, count, isUdpBlocked } = agent;
  const { name, certificate } = seed.nodes[index] ?? { name: "", certificate: "" };
  const connection = connect(url.href, seed.authorityPem, { key: seed.keyPem, certificate });
  try {
    let having: string | undefined;
    const { nodeId, heartbeat: offer } = await checkIn(connection, name, agent.boot);
    using heartbeat =
      offer && !isUdpBlocked
        ? startHeartbeat(
            {
              host: url.hostname,
              nodeId,
              having: () => having,
              onHeard: () => undefined,
              onWatched: () => undefined,
            },
            offer,
          )
        : undefined;
    setOnline(index, count);
    begin();
    // Not all at the same moment: a rack's agents start when their nodes do.
    let due = performance.now() + Math.random() * (heartbeat ? restfulCheckInMs : checkInMs);
    let failures = 0;
    const again = async () => {
      try {
        const answer = await checkIn(connection, name, agent.boot);
        if (answer.heartbeat) heartbeat?.renew(answer.heartbeat);
        failures = 0;
        due = performance.now() + (heartbeat?.isHeard ? restfulCheckInMs : checkInMs);
      } catch (error) {
        if (++failures === 3) throw error;
        due = performance.now() + failedCheckInMs;
      }
    };
    for (;;) {
      let waitMs = due - performance.now();
      if (waitMs <= 0) {
        await again();
        continue;
      }
      if (heartbeat?.isHeard) {
        connection.rest();
        heartbeat.beat();
        if (!(await heartbeat.called(waitMs, forever))) continue;
        waitMs = 0;
      }
      const order = await nextOrder(connection, Math.min(waitMs, checkInMs), having);
      if (!order) continue;
      say({ assigned: order.taskId, at: performance.timeOrigin + performance.now() });
      having = `${order.taskId}:${order.epoch}:${order.action}`;
      agent.boot += 1; // it obeys at once
      await again();
    }
  } finally {
    connection.close();
  }
}

/** A lost connection is made again, as the real agent does. */
async function liveAgain(seed: Seed, agent: Agent, begin: () => void): Promise<void> {
  let first = true;
  const connected = () => {
    if (first) begin();
    first = false;
  };
  for (;;) {
    await live(seed, agent, connected).catch((error: unknown) => {
      onlineNow.delete(agent.index);
      say({ lost: `agent ${agent.index}: ${reasonOf(error)}` });
    });
    await sleep(1000 + Math.random() * 4000);
  }
}

if (import.meta.main) {
  const [seedPath = "", url = "", blocked = "0"] = process.argv.slice(2);
  const seed = JSON.parse(readFileSync(seedPath, "utf8")) as Seed;
  const count = seed.nodes.length;
  let next = 0;
  const begin = (): void => {
    if (next === count) return;
    const index = next++;
    const isUdpBlocked = index < Number(blocked);
    void liveAgain(seed, { url: new URL(url), index, count, isUdpBlocked, boot: 1 }, begin);
  };
  for (let started = 0; started < handshakesAtOnce; started++) begin();
}
