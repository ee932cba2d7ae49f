/** The whole agent as a plain process would run it, against the server's real agent listener. */

import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { type Assignment, manifestText, type Report } from "#protocol/agent.ts";
import type { TaskId } from "#protocol/brand.ts";
import { canonicalJson } from "#protocol/discovery.ts";
import type { ImageManifest } from "#protocol/image.ts";
import type { NodeLoad } from "#protocol/load.ts";
import { runAgent, whyDropped } from "../../netinst/agent.ts";
import type { Settings } from "../../netinst/settings.ts";
import { install } from "../../netinst/steps/install.ts";
import type { Power } from "../../netinst/steps/power.ts";
import { macA, startServer } from "../agent/agent-peer.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { until } from "../support/until.ts";
import { compress, describeImage, recordConsole, serveImage, sha256 } from "./support.ts";

const mebibyte = 1 << 20;
const image = randomBytes(3 * mebibyte);
const taskId = "task_1" as TaskId;

type Server = Awaited<ReturnType<typeof startServer>>;

/** Starts an agent with a file as its disk; it stops with the test. */
function startAgent(
  t: ExecutionContext,
  server: Server,
  more: Partial<Settings> = {},
  power?: Power,
) {
  const directory = temporaryDirectory(t);
  const diskFile = join(directory, "disk");
  writeFileSync(diskFile, randomBytes(mebibyte));
  truncateSync(diskFile, 4 * mebibyte);
  mkdirSync(`${diskFile}.root/etc`, { recursive: true });
  const console = recordConsole();
  const stop = new AbortController();
  const powered: string[] = [];
  const node = server.nodes.byMac(macA) ?? server.knownNode(macA);
  const settings: Settings = {
    role: "netinst",
    site: { serverKey: server.site.serverKey, discovery: { group: "127.0.0.1", port: 1 } },
    architecture: "amd64",
    identityDirectory: join(directory, "identity"),
    interface: "lo",
    mac: macA,
    bootId: "boot-1",
    server: {
      url: `https://127.0.0.1:${server.listener.port}`,
      authority: server.site.authorityPem,
    },
    diskFile,
    simulate: true,
    unreachableMs: 60_000,
    ...more,
  };
  const running = runAgent(
    {
      settings,
      console,
      install,
      power: power ?? (async (verb) => void powered.push(verb)),
      paceMs: 5,
    },
    stop.signal,
  );
  t.teardown(async () => {
    stop.abort();
    await running;
  });
  return { settings, console, powered, node, diskFile };
}

async function installAssignment(
  t: ExecutionContext,
  server: Server,
  nodeId: Assignment["nodeId"],
  change: Partial<ImageManifest> = {},
): Promise<Assignment> {
  const stored = compress(image, "zstd");
  const images = await serveImage(stored);
  t.teardown(() => images.close());
  const manifest = { ...describeImage(image, stored, "zstd"), ...change };
  return {
    action: "install",
    nodeId,
    taskId,
    epoch: 1,
    image: {
      ...manifest,
      signature: server.site.sign(manifestText(canonicalJson(manifest))),
      url: images.url,
    },
    ticket: "good-ticket",
    hostname: "n1",
    authorizedKeys: [],
  };
}

/** Resolves with the first report that fits. The agent reports every few milliseconds. */
async function reported(server: Server, fits: (report: Report) => boolean): Promise<Report> {
  await until(() => server.reports.some(fits));
  return server.reports.find(fits) as Report;
}

test("an agent told to identify says that it shows, and that it has shown", async (t) => {
  const server = await startServer(t);
  const { id } = server.knownNode(macA);
  server.windows.open(macA, "power-on");
  const order = { action: "identify", seconds: 1, name: "lab-a-1" } as const;
  server.orders.set(id, { ...order, nodeId: id, taskId, epoch: 1 });
  const token = server.windows.tokenFor(macA);
  const agent = startAgent(t, server, token === undefined ? {} : { token });
  const done = await reported(server, (report) => report.status === "done");
  t.is(done.stage, "showing");
  t.true(server.reports.some(({ status, stage }) => status === "running" && stage === "showing"));
  t.true(agent.console.lines.some((line) => line.includes("lab-a-1")));
  t.deepEqual(agent.powered, []);
});

test("an agent enrols by its token, checks in, installs, reports and restarts when told", async (t) => {
  const server = await startServer(t);
  const { id } = server.knownNode(macA);
  server.windows.open(macA, "power-on");
  server.orders.set(id, await installAssignment(t, server, id));
  const token = server.windows.tokenFor(macA);
  const agent = startAgent(t, server, token === undefined ? {} : { token });
  const done = await reported(server, (report) => report.status === "done");
  t.is(done.stage, "committing");
  t.deepEqual(done.disk, { name: "disk-file" });
  const disk = readFileSync(agent.diskFile);
  t.is(sha256(disk.subarray(0, image.length)), sha256(image));
  t.is(server.nodes.get(id)?.agent?.role, "netinst");
  t.is(statSync(join(agent.settings.identityDirectory, "node.pem")).mode & 0o777, 0o600);
  server.orders.set(id, { action: "reboot", nodeId: id, taskId, epoch: 1, warnSeconds: 0 });
  await until(() => agent.powered.length > 0);
  t.deepEqual(agent.powered, ["reboot"]);
});

test("an agent whose beats are not answered asks by long polls", async (t) => {
  const server = await startServer(t);
  const { id } = server.knownNode(macA);
  server.windows.open(macA, "power-on");
  const { checkIn, update } = server.nodes;
  // The server takes the node for another boot: to its heartbeats this one is a stranger.
  server.nodes.checkIn = (...told) => {
    const node = checkIn(...told);
    if (node.agent) update(id, { agent: { ...node.agent, bootId: "another" } });
    return node;
  };
  const token = server.windows.tokenFor(macA);
  const agent = startAgent(t, server, token === undefined ? {} : { token });
  await until(() => server.polls.length > 1); // nobody has called it
  server.orders.set(id, { action: "reboot", nodeId: id, taskId, epoch: 1, warnSeconds: 0 });
  await until(() => agent.powered.length > 0);
  t.deepEqual(agent.powered, ["reboot"]);
});

test("an agent tells its load while somebody looks, and not before", async (t) => {
  const server = await startServer(t);
  const { id } = server.knownNode(macA);
  server.windows.open(macA, "power-on");
  const token = server.windows.tokenFor(macA);
  const agent = startAgent(t, server, token === undefined ? {} : { token });
  await until(() => agent.console.lines.some((line) => line.startsWith("checked in")));
  const loads: NodeLoad[] = [];
  const stop = server.watching.follow(id, (load) => loads.push(load));
  await until(() => loads.length === 2);
  stop();
  t.true((loads[1]?.memoryMiB ?? 0) > 0);
  t.true((loads[1]?.uptimeSeconds ?? 0) > 0);
});

test("a wrong digest is reported with its values, and the agent goes on to the next order", async (t) => {
  const server = await startServer(t);
  const { id } = server.knownNode(macA);
  server.windows.open(macA, "power-on");
  const wrong = { digest: "0".repeat(64) as ImageManifest["digest"] };
  server.orders.set(id, await installAssignment(t, server, id, wrong));
  const token = server.windows.tokenFor(macA);
  const agent = startAgent(t, server, token === undefined ? {} : { token });
  const failed = await reported(server, (report) => report.status === "failed");
  t.regex(failed.reason ?? "", /sha-256 of the plain bytes is [0-9a-f]{64} instead of 0{64}/);
  t.false(failed.retryable);
  t.true(
    readFileSync(agent.diskFile)
      .subarray(0, mebibyte)
      .every((octet) => octet === 0),
  );
  server.orders.set(id, { action: "shutdown", nodeId: id, taskId, epoch: 2, warnSeconds: 0 });
  await until(() => agent.powered.length > 0);
  t.deepEqual(agent.powered, ["shutdown"]);
});

test("a manifest that the pinned key did not sign is not touched", async (t) => {
  const server = await startServer(t);
  const { id } = server.knownNode(macA);
  server.windows.open(macA, "power-on");
  const order = await installAssignment(t, server, id);
  if (order.action !== "install") return t.fail();
  server.orders.set(id, { ...order, image: { ...order.image, sizeBytes: 1 } });
  const token = server.windows.tokenFor(macA);
  const agent = startAgent(t, server, token === undefined ? {} : { token });
  await until(() => agent.console.lines.some((line) => line.includes("manifest of image")));
  t.is(server.reports.length, 0);
  t.false(
    readFileSync(agent.diskFile)
      .subarray(0, 512)
      .every((octet) => octet === 0),
  );
});

test("a disk that the server's guard does not allow is not touched, and why is reported", async (t) => {
  const server = await startServer(t);
  const { id } = server.knownNode(macA);
  server.windows.open(macA, "power-on");
  const order = await installAssignment(t, server, id);
  if (order.action !== "install") return t.fail();
  const other = { name: "disk-file", contentsId: "gpt:of another install" };
  server.orders.set(id, { ...order, guard: { protectedSerials: [], onlyOver: [other] } });
  const token = server.windows.tokenFor(macA);
  const agent = startAgent(t, server, token === undefined ? {} : { token });
  const before = readFileSync(agent.diskFile);
  const failed = await reported(server, (report) => report.status === "failed");
  t.like(failed, {
    reason:
      "disk disk-file holds data of no known kind, perhaps encrypted, which was not installed from here",
    retryable: false,
  });
  t.true(readFileSync(agent.diskFile).equals(before));
});

test("an agent told to look at its machine says what it found, disks and their contents too", async (t) => {
  const server = await startServer(t);
  const { id } = server.knownNode(macA);
  server.windows.open(macA, "power-on");
  server.orders.set(id, { action: "inventory", nodeId: id, taskId, epoch: 1 });
  const token = server.windows.tokenFor(macA);
  startAgent(t, server, token === undefined ? {} : { token });
  const { hardware, stage } = await reported(server, (report) => report.status === "done");
  t.is(stage, "reading-hardware");
  t.like(hardware?.disks[0], {
    sizeBytes: 4 * mebibyte,
    contents: { kind: "unknown", text: "data of no known kind, perhaps encrypted" },
  });
  t.like(server.nodes.get(id)?.hardware?.disks[0], { sizeBytes: 4 * mebibyte });
});

test("an agent told to test its machine says how each part did", async (t) => {
  const server = await startServer(t);
  const { id } = server.knownNode(macA);
  server.windows.open(macA, "power-on");
  const order = { action: "burn-in", seconds: 0.01, writeDisks: true } as const;
  const guard = { protectedSerials: [], onlyOver: [] };
  server.orders.set(id, { ...order, guard, nodeId: id, taskId, epoch: 1 });
  const token = server.windows.tokenFor(macA);
  const agent = startAgent(t, server, token === undefined ? {} : { token });
  const before = readFileSync(agent.diskFile);
  const { burnIn } = await reported(server, (report) => report.status === "done");
  t.deepEqual(
    burnIn?.results.map(({ part, passed }) => `${part} ${passed}`),
    ["memory true", "cpu true", "disk disk-file true"],
  );
  t.true(readFileSync(agent.diskFile).equals(before));
});

test("a refused enrolment is shown with its reason, and the token is not sent again", async (t) => {
  const server = await startServer(t);
  server.knownNode(macA);
  const agent = startAgent(t, server, { token: "0123456789abcdef0123456789abcdef" });
  await until(() => agent.console.lines.some((line) => line.includes("enrolment refused")));
  t.regex(
    agent.console.lines.find((line) => line.includes("enrolment refused")) ?? "",
    /403 enrolment-refused: /,
  );
});

test("an assignment signed by another key is refused", async (t) => {
  const server = await startServer(t);
  const other = await startServer(t);
  const { id } = server.knownNode(macA);
  server.windows.open(macA, "power-on");
  server.orders.set(id, { action: "reboot", nodeId: id, taskId, epoch: 1, warnSeconds: 0 });
  const token = server.windows.tokenFor(macA);
  const agent = startAgent(t, server, {
    ...(token === undefined ? {} : { token }),
    site: { serverKey: other.site.serverKey, discovery: { group: "127.0.0.1", port: 1 } },
  });
  await until(() => agent.console.lines.some((line) => line.includes("not signed by the pinned")));
  t.deepEqual(agent.powered, []);
});

test("a reboot that is cancelled while users are warned does not happen", async (t) => {
  const server = await startServer(t);
  const { id } = server.knownNode(macA);
  server.windows.open(macA, "power-on");
  server.orders.set(id, { action: "reboot", nodeId: id, taskId, epoch: 1, warnSeconds: 60 });
  const token = server.windows.tokenFor(macA);
  const ends: string[] = [];
  const agent = startAgent(
    t,
    server,
    token === undefined ? {} : { token },
    async (_verb, warnSeconds, signal) => {
      ends.push(`warned for ${warnSeconds} s`);
      server.cancelled.add(taskId);
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      ends.push("let go");
      signal.throwIfAborted();
    },
  );
  await until(() => agent.console.lines.some((line) => line.includes("reboot stopped")));
  t.deepEqual(ends, ["warned for 60 s", "let go"]);
});

test("a netinst that hears no server restarts", async (t) => {
  const server = await startServer(t);
  const agent = startAgent(t, server, {
    server: { url: "https://127.0.0.1:1", authority: server.site.authorityPem },
    unreachableMs: 20,
  });
  await until(() => agent.powered.length > 0);
  t.deepEqual(agent.powered, ["reboot"]);
});

const order = {
  action: "reboot",
  nodeId: "node_1",
  taskId,
  epoch: 3,
  warnSeconds: 0,
} as Assignment;
for (const [title, epochs, known, nodeId, dropped] of [
  ["a first attempt is taken", [], undefined, "node_1", undefined],
  ["a newer attempt is taken", [[taskId, 2]], "task_1:2:reboot", "node_1", undefined],
  [
    "another order of the same attempt is taken",
    [[taskId, 3]],
    "task_1:3:install",
    "node_1",
    undefined,
  ],
  [
    "an older attempt is dropped",
    [[taskId, 4]],
    undefined,
    "node_1",
    /attempt 3 of task_1 is older than attempt 4/,
  ],
  [
    "the same order again is dropped",
    [[taskId, 3]],
    "task_1:3:reboot",
    "node_1",
    /was taken already/,
  ],
  ["another node's order is dropped", [], undefined, "node_2", /it is for node_1, we are node_2/],
] as const) {
  test(title, (t) => {
    const reason = whyDropped(order, nodeId, { epochs: new Map(epochs), known });
    if (dropped === undefined) t.is(reason, undefined);
    else t.regex(reason ?? "", dropped);
  });
}
