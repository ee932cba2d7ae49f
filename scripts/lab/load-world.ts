/**
 * A server with many simulated agents: they are written into its journal before it starts,
 * each with its certificate, and live in one process in a namespace of their own.
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
import { type Api, createApi } from "./api.ts";
import { type Cleanup, endProcess } from "./cleanup.ts";
import { inNamespace, run } from "./command.ts";
import type { AgentsMessage, Seed } from "./load-agents.ts";
import { createNetwork, removeStaleNamespaces } from "./namespaces.ts";
import { startServerProcess } from "./server-process.ts";

export interface LoadWorld {
  readonly api: Api;
  /** Of the nodes. */
  readonly names: readonly string[];
  readonly agents: Agents;
  /** The server's own process, not its Redis. */
  pid(): number;
  /** How many nodes the server takes for online. */
  online(): Promise<number>;
  /** Connections of agents that stand. */
  connections(): number;
  /** What the server says to a node's words on `path`, spoken beside its agent: the status and the body. */
  sayAs(name: string, path: string, body: unknown): string;
  /** Reboots those named, without a warning. */
  reboot(selector: string): Promise<Job>;
  readonly stateDirectory: string;
  /** SIGKILL, and the same server again. @param meanwhile - changes its state; somebody signs in again then */
  restart(meanwhile?: () => Promise<unknown>): Promise<void>;
  stop(): Promise<void>;
}

export interface Agents {
  /** Connections lost so far, each with its reason. */
  readonly lost: readonly string[];
  allOnline(count: number): Promise<void>;
  /** When the last node of the job had its order; milliseconds since the epoch. */
  assigned(job: Job): Promise<number>;
}

export interface LoadWorldOptions {
  readonly nodes: number;
  /** Agents whose beats do not arrive: they hold a connection each. */
  readonly blocked: number;
  readonly say: (line: string) => void;
}

const seededAt = 1 as Instant;
const name = "admin";
const password = "correct horse battery staple";

/** Resolves when all agents are online. */
export async function startLoadWorld(
  { nodes, blocked, say }: LoadWorldOptions,
  cleanup: Cleanup,
): Promise<LoadWorld> {
  removeStaleNamespaces();
  const directory = mkdtempSync("/var/tmp/marcoboot-load-");
  cleanup.add(directory, () => rmSync(directory, { recursive: true, force: true }));
  const seedPath = join(directory, "seed.json");
  say(`writing ${nodes} nodes and their certificates`);
  const names = await seed(join(directory, "server"), nodes, seedPath);

  const network = createNetwork("10.77.0.1/24", cleanup);
  const agentsNamespace = network.addHost("agents", "52:54:00:10:00:01");
  run("ip", ["-n", agentsNamespace, "address", "add", "10.77.0.200/24", "dev", "eth0"]);
  run("ip", ["-n", agentsNamespace, "link", "set", "eth0", "up"]);
  const start = () =>
    startServerProcess({
      network,
      directory,
      netinstDirectory: directory,
      loadersDirectory: directory,
      adminPort: 8000,
      logLevel: "warn",
      cleanup,
    });
  let server = await start();
  const api = await signIn(server.adminSocket, server.setupCode);
  say("agents connect");
  const { end, ...agents } = startAgents(api, agentsNamespace, seedPath, { blocked, say }, cleanup);
  await agents.allOnline(nodes);
  return {
    api,
    names,
    agents,
    pid: () => serverPid(network.serverNamespace, directory),
    async online() {
      const { items } = await api.get<{ items: readonly { connection: string }[] }>(
        "/api/v1/nodes",
      );
      return items.filter(({ connection }) => connection === "online").length;
    },
    connections() {
      const [command, args] = inNamespace(network.serverNamespace, "ss", [
        ...["-H", "-t", "-n", "state", "established", "sport = :8443"],
      ]);
      return run(command, args).split("\n").filter(Boolean).length;
    },
    sayAs(name, path, body) {
      const { keyPem, nodes: seeds } = JSON.parse(readFileSync(seedPath, "utf8")) as Seed;
      const [key, certificate] = [join(directory, "key.pem"), join(directory, `${name}.pem`)];
      writeFileSync(key, keyPem, { mode: 0o600 });
      writeFileSync(certificate, seeds.find((one) => one.name === name)?.certificate ?? "");
      const [command, args] = inNamespace(agentsNamespace, "curl", [
        ...["-s", "-k", "--key", key, "--cert", certificate, "-w", "\n%{http_code}"],
        ...["-H", "content-type: application/json", "-d", JSON.stringify(body)],
        `https://10.77.0.1:8443${path}`,
      ]);
      return run(command, args).split("\n").toReversed().join(" ");
    },
    reboot: (selector) =>
      api.send("POST", "/api/v1/jobs", {
        kind: "reboot",
        selector,
        parameters: { warnSeconds: 0 },
      }),
    stateDirectory: join(directory, "server"),
    async restart(meanwhile) {
      await server.kill();
      await meanwhile?.();
      server = await start();
      if (!meanwhile) return;
      const session = { name, password };
      api.token = (await api.send<{ token: string }>("POST", "/api/v1/sessions", session)).token;
    },
    async stop() {
      end();
      await server.stop();
    },
  };
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
    name,
    password,
  });
  api.token = token;
  return api;
}

function startAgents(
  api: Api,
  namespace: string,
  seedPath: string,
  { blocked, say }: Pick<LoadWorldOptions, "blocked" | "say">,
  cleanup: Cleanup,
): Agents & { end(): void } {
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
  const lost: string[] = [];
  const orders = new Map<string, number>();
  createInterface({ input: child.stdout }).on("line", (line) => {
    const message = JSON.parse(line) as AgentsMessage;
    if ("lost" in message) {
      lost.push(message.lost);
      say(message.lost);
    } else if ("online" in message) {
      online = message.online;
      say(`${online} online`);
    } else {
      orders.set(message.assigned, message.at);
    }
  });
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) {
      if (child.exitCode !== null) throw new Error("the agents ended");
      await sleep(5);
    }
  };
  return {
    end,
    lost,
    allOnline: (count) => until(() => online === count),
    async assigned(job) {
      const { tasks } = await api.get<{ tasks: readonly { id: string }[] }>(
        `/api/v1/jobs/${job.id}`,
      );
      const ids = tasks.map(({ id }) => id);
      await until(() => ids.every((id) => orders.has(id)));
      return Math.max(...ids.map((id) => orders.get(id) ?? Number.NaN));
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
