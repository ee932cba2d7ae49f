/** A listener with everything real but the jobs, and an agent's side of its TLS. */

import { generateKeyPairSync, randomBytes } from "node:crypto";
import { Agent, request } from "node:https";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import type { Assignment, EnrolAnswer, Report } from "#protocol/agent.ts";
import {
  type Ipv4Address,
  type MacAddress,
  type NodeId,
  parseMacAddress,
} from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import type { NodeLoad } from "#protocol/load.ts";
import type { Node } from "#protocol/node.ts";
import { createUploads } from "../../images/uploads.ts";
import { type AgentListenerContext, startAgentListener } from "../../server/agent/listener.ts";
import { createSelfUpdates } from "../../server/agent/self-update.ts";
import { systemClock } from "../../server/clock.ts";
import { openSite, type Site } from "../../server/enrol/authority.ts";
import { createWindows } from "../../server/enrol/token.ts";
import { AttemptSupersededError, ForbiddenError } from "../../server/errors.ts";
import { createEventBus } from "../../server/events.ts";
import { silentLog } from "../../server/log.ts";
import { createNodes } from "../../server/node/nodes.ts";
import { createWatching } from "../../server/node/watching.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { temporaryDirectory } from "../support/temporary.ts";

export const loopback = "127.0.0.1" as Ipv4Address;
export const macA = parseMacAddress("dc:a6:32:00:00:0a");
export const macB = parseMacAddress("dc:a6:32:00:00:0b");

export interface Credential {
  readonly key: string;
  readonly cert: string;
}

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: unknown;
}

export interface CallOptions {
  readonly credential?: Credential | undefined;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  readonly tls?: { readonly maxVersion: "TLSv1.2" };
}

/** The order of each node; whoever listens is told of a new one. */
class Orders extends Map<NodeId, Assignment> {
  readonly #listeners = new Set<(node: NodeId) => void>();

  override set(node: NodeId, order: Assignment): this {
    super.set(node, order);
    for (const listener of this.#listeners) listener(node);
    return this;
  }

  nameFor(node: NodeId): string | undefined {
    const order = this.get(node);
    return order && `${order.taskId}:${order.epoch}:${order.action}`;
  }

  onSet(listener: (node: NodeId) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

export async function startServer(t: ExecutionContext) {
  const store = openSqliteStore(":memory:");
  const clock = createFakeClock();
  const log = silentLog;
  const events = createEventBus(log);
  const heard: DomainEvent[] = [];
  events.subscribe((event) => heard.push(event));
  const site = await openSite(join(temporaryDirectory(t), "keys"));
  const nodes = createNodes({ store, events, clock, log });
  const windows = createWindows({ store, clock, config: { enrolmentMinutes: 10 }, log });
  const reports: Report[] = [];
  const cancelled = new Set<string>();
  const polls: { readonly known: string | undefined; readonly signal: AbortSignal }[] = [];
  const orders = new Orders();
  const watching = createWatching(clock);
  const netinstDirectory = join(temporaryDirectory(t), "netinst");
  const uploads = createUploads(join(temporaryDirectory(t), "captured"), () => true);
  const jobs: AgentListenerContext["jobs"] = {
    report: (_node, report) => {
      reports.push(report);
      return { cancelled: cancelled.has(report.taskId) };
    },
    checkAttempt: (node, attempt) => {
      if (store.tasks.get(attempt.taskId)?.nodeId !== node) {
        throw new ForbiddenError("it is another node's");
      }
      if (cancelled.has(attempt.taskId)) throw new AttemptSupersededError("it has ended");
    },
    waitForAssignment: async (node, known, _waitMs, signal) => {
      polls.push({ known, signal });
      return orders.get(node);
    },
    assignmentNameFor: (node) => orders.nameFor(node),
    onAssignment: (listener) => orders.onSet(listener),
  };
  const listener = await startAgentListener({
    config: { agentPort: 0, certificateDays: 90 },
    address: loopback,
    site,
    nodes,
    jobs,
    uploads,
    selfUpdates: createSelfUpdates({
      config: { agent: { selfUpdate: true, updatesAtOnce: 4 }, netinstDirectory },
      store,
      events,
      clock,
      log,
    }),
    watching,
    windows,
    store,
    events,
    // Only closing needs time here.
    clock: { ...clock, sleep: systemClock.sleep },
    log,
  });
  t.teardown(async () => {
    await listener.close();
    store.close();
  });
  const call = (path: string, options: CallOptions = {}) =>
    send(site, listener.port, path, options);
  const knownNode = (mac: MacAddress): Node =>
    nodes.heard({ mac, ipxe: false, architectures: [] }, loopback);
  const enrolled = async (mac: MacAddress): Promise<{ node: Node; credential: Credential }> => {
    const { id } = knownNode(mac);
    windows.open(mac, "power-on");
    const pair = newKey();
    const answer = await call("/enrol", { body: enrolBody(mac, windows.tokenFor(mac), pair) });
    t.is(answer.status, 200, JSON.stringify(answer.body));
    const node = nodes.get(id);
    if (!node) throw new Error("the node vanished");
    const { certificate } = answer.body as EnrolAnswer;
    return { node, credential: { key: pair.privatePem, cert: certificate } };
  };
  return {
    ...{
      site,
      store,
      clock,
      nodes,
      windows,
      listener,
      heard,
      reports,
      cancelled,
      polls,
      orders,
      watching,
      jobs,
      uploads,
      netinstDirectory,
    },
    ...{ call, enrolled, knownNode },
  };
}

export function newKey() {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  return {
    privatePem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    publicPem: publicKey.export({ type: "spki", format: "pem" }).toString(),
  };
}

export function enrolBody(mac: string, token: string | undefined, pair = newKey()) {
  return {
    publicKey: pair.publicPem,
    ...(token !== undefined && { token }),
    nonce: randomBytes(16).toString("hex"),
    mac,
    architecture: "amd64",
    bootId: "8a6a0bd2-0000-4000-8000-000000000001",
    hardware: {
      model: "QEMU\u001b[31m PC",
      serial: "S1",
      cpus: 1,
      memoryMiB: 256,
      disks: [{ name: "vda", sizeBytes: 1 << 30, removable: false }],
      interfaces: [{ name: "eth0", mac }],
    },
  };
}

export const checkInBody = {
  role: "netinst",
  version: "0.1.0",
  bootId: "8a6a0bd2-0000-4000-8000-000000000001",
  hostname: "node-a",
  uptimeSeconds: 12.5,
  usedMemoryMiB: 90,
} as const;

export const loadBody: NodeLoad = {
  ...{ cpuPercent: 1, loadAverage: 0.5, memoryUsedMiB: 1, memoryMiB: 2 },
  ...{ received: 0, sent: 0, uptimeSeconds: 1 },
};

function send(site: Site, port: number, path: string, options: CallOptions): Promise<Answer> {
  const { credential, body, signal, tls } = options;
  const agent = new Agent({ ...tls });
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        agent,
        host: loopback,
        port,
        path: `/agent/v1${path}`,
        method: body === undefined ? "GET" : "POST",
        ca: site.authorityPem,
        ...(credential && credential),
        ...(signal && { signal }),
        headers: body === undefined ? {} : { "content-type": "application/json" },
      },
      (response) => {
        const parts: Buffer[] = [];
        response.on("data", (part: Buffer) => parts.push(part));
        response.on("error", reject);
        response.on("end", () => {
          agent.destroy();
          const text = Buffer.concat(parts).toString("utf8");
          resolve({
            status: response.statusCode ?? 0,
            type: response.headers["content-type"] ?? "",
            body: text.startsWith("{") ? JSON.parse(text) : text,
          });
        });
      },
    );
    outgoing.on("error", reject);
    outgoing.end(body === undefined || typeof body === "string" ? body : JSON.stringify(body));
  });
}
