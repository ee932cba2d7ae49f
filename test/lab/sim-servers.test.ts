/**
 * `marcoboot sim` against our server, and against dnsmasq as Raspberry Pi's
 * documentation has it and by itself: boards that boot from neither would prove
 * nothing about a network. Root, iproute2 and dnsmasq are needed.
 */

import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import {
  type BootServerName,
  type BootTree,
  bootServerNames,
  makeBootTree,
  prepareHosts,
  startBootServer,
} from "../../scripts/lab/boot-servers.ts";
import { createCleanup } from "../../scripts/lab/cleanup.ts";
import { inNamespace } from "../../scripts/lab/command.ts";
import { createNetwork } from "../../scripts/lab/namespaces.ts";
import type { SimulationResult } from "../../server/sim/simulation.ts";

const missing = whatIsMissing();
const lab = missing ? test.skip : test.serial;
if (missing) console.warn(`skipped: ${missing}`);

const root = join(import.meta.dirname, "..", "..");

const trials = [
  ["dnsmasq-proxy", "pi3", 3],
  ["dnsmasq", "pi3", 1],
  ["dnsmasq", "pi4", 2],
  ["dnsmasq-tuned", "pi3", 12],
  ["marcoboot", "pi3", 6],
  ["marcoboot", "pi4", 3],
  ["marcoboot", "pi5", 3],
  ["marcoboot", "edk2", 2],
  ["marcoboot", "edk2-arm64", 1],
  ["marcoboot", "bios", 2],
  ["marcoboot", "ipxe", 2],
  ["marcoboot", "ipxe-x64", 1],
  ["marcoboot-proxy", "pi3", 4],
  ["marcoboot-proxy", "pi4", 2],
  ["marcoboot-proxy", "edk2", 2],
  ["marcoboot-proxy", "bios", 2],
] as const;

for (const server of bootServerNames) {
  lab(`simulated boards boot from ${server}, and get the same files`, async (t) => {
    const stage = await serving(t, server);
    // without ARP answers the kernel forgets a board in mid-transfer, sooner or later by the machine's load
    const kind = server.startsWith("dnsmasq") ? ["--always-arp"] : [];
    for (const [, model, count] of trials.filter(([name]) => name === server)) {
      const { status, result } = await sim(stage.boards, model, ...counted(count), ...kind);
      t.is(status, 0, `${model}: ${JSON.stringify(result?.boards.map(({ ending }) => ending))}`);
      t.is(result?.booted, count);
      for (const board of result?.boards ?? []) {
        t.deepEqual(wrongFiles(board.files, stage.tree), [], model);
      }
      t.is(new Set(result?.boards.map(({ address }) => address)).size, count);
    }
  });
}

lab("iPXE is told not to wait for a proxy, and fetches kernel and initrd by HTTP", async (t) => {
  const { boards } = await serving(t, "marcoboot");
  await sim(boards, "ipxe"); // its address is looked at before it is offered: that may take the second it waits
  const { result } = await sim(boards, "ipxe");
  const [board] = result?.boards ?? [];
  t.is(board?.discovers, 1);
  t.deepEqual(
    board?.files.map(({ name }) => new URL(name).pathname.split("/").at(-1)),
    ["boot.ipxe", "kernel", "initrd"],
  );
});

lab("without a server nobody boots: exit code 1, and the reason", async (t) => {
  const { boards } = network(t);
  const { status, result } = await sim(boards, "pi3", "--count", "2", "--timeout", "2s");
  t.is(status, 1);
  t.is(result?.booted, 0);
  t.regex(JSON.stringify(result?.boards[0]?.ending), /DISCOVER 1 of 5/);
});

lab("an interface that does not exist is named, with those that do", async (t) => {
  const { boards } = network(t);
  const { status, said } = await sim(boards, "pi3", "--interface", "eth9");
  t.is(status, 1);
  t.regex(said, /no interface eth9/);
});

lab("an interface that is down is said to be down, and how to put it up", async (t) => {
  const { boards } = network(t);
  execFileSync("ip", ["-n", boards, "link", "set", "eth0", "down"]);
  const { status, said } = await sim(boards, "pi3");
  t.is(status, 1);
  t.regex(said, /eth0 is down\nhint: ip link set eth0 up/);
});

interface Network {
  readonly boards: string;
  readonly start: (name: BootServerName) => Promise<BootTree>;
}

function network(t: ExecutionContext): Network {
  const cleanup = createCleanup((line) => t.log(line));
  t.teardown(() => cleanup.run());
  const made = createNetwork("10.77.0.1/24", cleanup);
  const boards = made.addHost("boards", "52:54:00:5f:00:01");
  const router = made.addHost("router", "52:54:00:5f:00:02");
  prepareHosts(boards, router);
  return {
    boards,
    async start(name) {
      const directory = mkdtempSync("/var/tmp/marcoboot-sim-");
      cleanup.add(directory, () => rmSync(directory, { recursive: true, force: true }));
      const tree = makeBootTree(directory, 300_000);
      const server = await startBootServer({
        ...{ name, network: made, routerNamespace: router, tree, cleanup, checkout: root },
        directory: join(directory, "server"),
      });
      t.teardown(() => server.stop());
      return tree;
    },
  };
}

async function serving(t: ExecutionContext, name: BootServerName) {
  const { boards, start } = network(t);
  return { boards, tree: await start(name) };
}

const counted = (count: number) => ["--count", `${count}`, "--stagger", "100ms"];

function sim(
  namespace: string,
  model: string,
  ...words: readonly string[]
): Promise<{ status: number | null; result: SimulationResult | undefined; said: string }> {
  const [command, args] = inNamespace(namespace, process.execPath, [
    join(root, "server", "cli", "main.ts"),
    ...["sim", model, "--json", "--interface", "eth0", ...words],
  ]);
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) => {
      const result = output === "" ? undefined : (JSON.parse(output) as SimulationResult);
      resolve({ status, result, said });
    });
  });
}

function wrongFiles(
  files: SimulationResult["boards"][number]["files"],
  tree: BootTree,
): readonly string[] {
  return files.flatMap(({ name, crc32 }) => {
    const right = tree.checksums.get(name.slice(name.lastIndexOf("/") + 1));
    return right === undefined || right === crc32 ? [] : [name];
  });
}

function whatIsMissing(): string | undefined {
  if (process.getuid?.() !== 0) return "network namespaces need root";
  const { error } = spawnSync("dnsmasq", ["--version"]);
  return error ? "dnsmasq is not installed" : undefined;
}
