/**
 * `npm run -s lab -- load`: one server with thousands of agents online. They are written into
 * its journal before it starts, connect, and are left alone: what does that cost? Then one
 * reboot job after the other, each for one node: how long until the node has its order?
 */

import { spawn } from "node:child_process";
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { type Instant, type NodeId, parseMacAddress } from "#protocol/brand.ts";
import type { Job } from "#protocol/job.ts";
import { openSite } from "../../server/enrol/authority.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { readArguments, refuse } from "../usage.ts";
import { type Api, createApi } from "./api.ts";
import { type Cleanup, endProcess } from "./cleanup.ts";
import { inNamespace, run } from "./command.ts";
import type { Seed } from "./load-agents.ts";
import { createNetwork, removeStaleNamespaces } from "./namespaces.ts";
import { startServerProcess } from "./server-process.ts";

interface LoadOptions {
  readonly nodes: number;
  /** Jobs of one node each. */
  readonly jobs: number;
  /** Time of doing nothing that is measured. */
  readonly idleSeconds: number;
  /** Agents whose beats do not arrive: they hold a connection each. */
  readonly blocked: number;
}

interface LoadResult {
  readonly online: number;
  readonly rssMiB: number;
  /** Of one core, while every agent beats each 15 s and waits. */
  readonly cpuPercentIdle: number;
  /** From the request for a job to the moment its node has the order. */
  readonly assignmentP99Ms: number;
  readonly assignmentP50Ms: number;
}

const seededAt = 1 as Instant;
const password = "correct horse battery staple";
const ticksPerSecond = 100; // USER_HZ: the same on every Linux

const usage = `
npm run -s lab -- load: one server with thousands of agents online

  --nodes 10000   agents
  --jobs 200      reboot jobs of one node each, one after the other
  --seconds 60    of doing nothing, which are measured
  --blocked 0     agents that cannot use UDP: they hold a connection each
  --json          the result as a line of JSON

Progress is on standard error. Root is needed.
`;

/** @returns the exit code: 1 when an agent was not online. */
export async function runLoad(cleanup: Cleanup): Promise<number> {
  const { values } = readArguments(usage, {
    allowPositionals: true,
    options: {
      nodes: { type: "string", default: "10000" },
      jobs: { type: "string", default: "200" },
      seconds: { type: "string", default: "60" },
      blocked: { type: "string", default: "0" },
      json: { type: "boolean", default: false },
    },
  });
  const options = {
    nodes: wholeNumber("nodes", values.nodes, 1),
    jobs: wholeNumber("jobs", values.jobs, 1),
    idleSeconds: wholeNumber("seconds", values.seconds, 1),
    blocked: wholeNumber("blocked", values.blocked, 0),
  };
  const result = await measureLoad(options, cleanup);
  const text = Object.entries(result).map(([name, value]) => `${name.padEnd(16)} ${value}`);
  process.stdout.write(`${values.json ? JSON.stringify(result) : text.join("\n")}\n`);
  return result.online === options.nodes ? 0 : 1;
}

function wholeNumber(name: string, text: string, least: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least) {
    refuse(`--${name} ${text} is no whole number from ${least} on`);
  }
  return value;
}

async function measureLoad(options: LoadOptions, cleanup: Cleanup): Promise<LoadResult> {
  removeStaleNamespaces();
  const directory = mkdtempSync("/var/tmp/marcoboot-load-");
  cleanup.add(directory, () => rmSync(directory, { recursive: true, force: true }));
  const seedPath = join(directory, "seed.json");
  say(`writing ${options.nodes} nodes and their certificates`);
  const names = await seed(join(directory, "server"), options.nodes, seedPath);

  const network = createNetwork("10.77.0.1/24", cleanup);
  const agentsNamespace = network.addHost("agents", "52:54:00:10:00:01");
  run("ip", ["-n", agentsNamespace, "address", "add", "10.77.0.200/24", "dev", "eth0"]);
  run("ip", ["-n", agentsNamespace, "link", "set", "eth0", "up"]);
  const server = await startServerProcess({
    network,
    directory,
    netinstDirectory: directory,
    loadersDirectory: directory,
    adminPort: 8000,
    logLevel: "warn",
    cleanup,
  });
  const api = await signIn(server.adminSocket, server.setupCode);

  say("agents connect");
  const agents = startAgents(agentsNamespace, seedPath, options.blocked, cleanup);
  await agents.allOnline(options.nodes);
  const pid = serverPid(network.serverNamespace, directory);
  say(`all online; nothing to do for ${options.idleSeconds} s`);
  await sleep(5000);
  const before = cpuTicks(pid);
  await sleep(options.idleSeconds * 1000);
  const cpuPercentIdle = ((cpuTicks(pid) - before) / ticksPerSecond / options.idleSeconds) * 100;
  const rssMiB = residentMiB(pid);
  const online = (
    await api.get<{ items: readonly { connection: string }[] }>("/api/v1/nodes")
  ).items.filter((node) => node.connection === "online").length;

  say(`${options.jobs} jobs`);
  const delays: number[] = [];
  for (let count = 0; count < options.jobs; count++) {
    const name = names[Math.floor((count * names.length) / options.jobs)];
    const began = performance.timeOrigin + performance.now();
    const job = await api.send<Job>("POST", "/api/v1/jobs", {
      kind: "reboot",
      selector: name,
      parameters: { warnSeconds: 0 },
    });
    delays.push((await agents.assigned(api, job)) - began);
  }
  delays.sort((a, b) => a - b);
  agents.end();
  await server.stop();
  return {
    online,
    rssMiB: Math.round(rssMiB),
    cpuPercentIdle: Math.round(cpuPercentIdle * 10) / 10,
    assignmentP99Ms: Math.round(quantile(delays, 0.99)),
    assignmentP50Ms: Math.round(quantile(delays, 0.5)),
  };
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Nodes in the journal of a server that has not started, and what their agents need. Returns their names. */
async function seed(
  stateDirectory: string,
  count: number,
  seedPath: string,
): Promise<readonly string[]> {
  mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
  const site = await openSite(join(stateDirectory, "keys"));
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const publicPem = publicKey.export({ type: "spki", format: "pem" }).toString();
  const made = await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const id = `node_${randomUUID()}` as NodeId;
      const name = `n${String(index).padStart(5, "0")}`;
      const { pem, fingerprint } = await site.issueNodeCertificate(id, publicPem);
      return { id, name, index, pem, fingerprint };
    }),
  );
  const store = openSqliteStore(join(stateDirectory, "marcoboot.db"));
  store.transaction(() => {
    for (const { id, name, index, fingerprint } of made) {
      const low = index.toString(16).padStart(6, "0").match(/../g)?.join(":");
      store.nodes.put({
        id,
        name,
        mac: parseMacAddress(`02:00:00:${low}`),
        state: "installed",
        quarantined: false,
        power: "on",
        connection: "offline",
        architecture: "arm64",
        certificate: fingerprint,
        createdAt: seededAt,
        updatedAt: seededAt,
      });
    }
  });
  store.close();
  const content: Seed = {
    authorityPem: site.authorityPem,
    keyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    nodes: made.map(({ name, pem }) => ({ name, certificate: pem })),
  };
  writeFileSync(seedPath, JSON.stringify(content), { mode: 0o600 });
  return made.map(({ name }) => name);
}

async function signIn(socket: string, code: string | undefined): Promise<Api> {
  const api = createApi(socket);
  const { token } = await api.send<{ token: string }>("POST", "/api/v1/setup", {
    code,
    name: "admin",
    password,
  });
  api.token = token;
  return api;
}

interface Agents {
  end(): void;
  allOnline(count: number): Promise<void>;
  /** When the node of the job's only task had its order; milliseconds since the epoch. */
  assigned(api: Api, job: Job): Promise<number>;
}

function startAgents(
  namespace: string,
  seedPath: string,
  blocked: number,
  cleanup: Cleanup,
): Agents {
  const [command, args] = inNamespace(namespace, process.execPath, [
    new URL("load-agents.ts", import.meta.url).pathname,
    seedPath,
    "https://10.77.0.1:8443",
    String(blocked),
  ]);
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  const end = () => endProcess(child.pid);
  cleanup.add("agents", end);
  let online = 0;
  const orders = new Map<string, number>();
  createInterface({ input: child.stdout }).on("line", (line) => {
    const message = JSON.parse(line) as {
      online?: number;
      lost?: string;
      assigned?: string;
      at?: number;
    };
    if (message.lost !== undefined) say(message.lost);
    if (message.online !== undefined) {
      online = message.online;
      say(`${online} online`);
    }
    if (message.assigned !== undefined) orders.set(message.assigned, message.at ?? Number.NaN);
  });
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) {
      if (child.exitCode !== null) throw new Error("the agents ended");
      await sleep(5);
    }
  };
  return {
    end,
    allOnline: (count) => until(() => online === count),
    async assigned(api, job) {
      const { tasks } = await api.get<{ tasks: readonly { id: string }[] }>(
        `/api/v1/jobs/${job.id}`,
      );
      const id = tasks[0]?.id ?? "";
      await until(() => orders.has(id));
      return orders.get(id) ?? Number.NaN;
    },
  };
}

/** The server's own process, not its Redis. */
function serverPid(namespace: string, directory: string): number {
  const pids = run("ip", ["netns", "pids", namespace]).split("\n").filter(Boolean).map(Number);
  const found = pids.find((pid) => {
    const words = readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0");
    return words.includes("serve") && words.some((word) => word.startsWith(directory));
  });
  if (found === undefined) throw new Error("the server's process is gone");
  return found;
}

/** Clock ticks of processor time so far: user and system. */
function cpuTicks(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

function residentMiB(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, "latin1");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1]) / 1024;
}
