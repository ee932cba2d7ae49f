/**
 * Where every contender is measured: the same two namespaces, one cable.
 *
 *   +-- <prefix>-bs ---------------+         +-- <prefix>-bc -----------------+
 *   |  the server under test       |  veth   |  the load generator            |
 *   |  eth0 10.64.0.1/12           |=========|  eth0 10.64.0.2/12             |
 *   |                              |         |  lo   10.64.1.1 ... 48 clients |
 *   +------------------------------+         +--------------------------------+
 *
 * The clients' side takes frames to any MAC address: a server may send to the one a
 * client told by DHCP. It answers ARP for the clients' addresses only once they are
 * leased, so that no server takes them for addresses that are in use.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { type Cleanup, endProcess, isAlive } from "../lab/cleanup.ts";
import { inNamespace, run } from "../lab/command.ts";
import { removeStaleNamespaces } from "../lab/namespaces.ts";

export const serverAddress = "10.64.0.1";
export const loaderAddress = "10.64.0.2";
export const firstClient = "10.64.1.1";
export const clientCount = 48;
export const serverInterface = "eth0";

export interface Arena {
  readonly serverNamespace: string;
  readonly clientNamespace: string;
  /** For configurations, databases and files; removed at the end. */
  readonly directory: string;
  /** Whether the clients' addresses are anybody's, for whoever asks by ARP. */
  answerArp(yes: boolean): void;
  /** Runs a program on the clients' side to its end and gives its standard output. @throws Error when it fails. */
  load(command: string, args: readonly string[], accept?: readonly number[]): Promise<string>;
  /** Starts a program on the clients' side. */
  spawnLoad(command: string, args: readonly string[]): ChildProcess;
}

/** @throws Error when namespaces cannot be made (root is needed) */
export function openArena(cleanup: Cleanup): Arena {
  removeStaleNamespaces();
  const directory = mkdtempSync("/var/tmp/marcoboot-bench-"); // not /tmp: that may be memory, and leases belong on a disk
  chmodSync(directory, 0o755); // peers that give up root read the files below
  cleanup.add(directory, () => rmSync(directory, { recursive: true, force: true }));
  const server = `mb${process.pid}-bs`;
  const client = `mb${process.pid}-bc`;
  for (const name of [server, client]) {
    run("ip", ["netns", "add", name]);
    cleanup.add(`namespace ${name}`, () => run("ip", ["netns", "delete", name]));
    run("ip", ["-n", name, "link", "set", "lo", "up"]);
  }
  batch(server, [
    `link add ${serverInterface} type veth peer name eth0 netns ${client}`,
    `addr add ${serverAddress}/12 brd + dev ${serverInterface}`,
    `link set ${serverInterface} up`,
  ]);
  batch(client, [
    `addr add ${loaderAddress}/12 brd + dev eth0`,
    "link set eth0 up",
    "route add 255.255.255.255 dev eth0",
    ...clientAddresses().map((address) => `addr add ${address}/32 dev lo`),
  ]);
  run("ip", ["netns", "exec", client, nft, "-f", "-"], takeAllFrames);

  const children = new Set<ChildProcess>();
  cleanup.add("load generators", () => {
    for (const child of children) endProcess(child.pid);
  });
  const spawnLoad = (command: string, args: readonly string[]) => {
    const [program, words] = inNamespace(client, command, args);
    const child = spawn(program, words, { stdio: ["pipe", "pipe", "pipe"] });
    children.add(child);
    child.once("close", () => children.delete(child));
    return child;
  };
  return {
    serverNamespace: server,
    clientNamespace: client,
    directory,
    answerArp(yes) {
      // 1: only for an address of the interface itself, and theirs are on `lo` (ip-sysctl).
      const setting = `net.ipv4.conf.all.arp_ignore=${yes ? 0 : 1}`;
      run("ip", ["netns", "exec", client, "sysctl", "-qw", setting]);
    },
    spawnLoad,
    async load(command, args, accept = [0]) {
      const { output, status, said } = await outcome(spawnLoad(command, args));
      if (status !== null && accept.includes(status)) return output;
      throw new Error(`${command} ended with ${status}: ${said.trim() || output.trim()}`);
    },
  };
}

/** By path: an npm package brings another program of this name, and npm puts it first. */
const nft = "/usr/sbin/nft";
const takeAllFrames = `
table netdev bench {
  chain in {
    type filter hook ingress device eth0 priority 0; policy accept;
    meta pkttype set host
  }
}
`;

function clientAddresses(): readonly string[] {
  const [a, b, c, d] = firstClient.split(".").map(Number);
  return Array.from({ length: clientCount }, (_, index) => [a, b, c, Number(d) + index].join("."));
}

export function outcome(
  child: ChildProcess,
): Promise<{ readonly output: string; readonly said: string; readonly status: number | null }> {
  const output: Buffer[] = [];
  const said: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => output.push(chunk));
  child.stderr?.on("data", (chunk: Buffer) => said.push(chunk));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) =>
      resolve({
        status,
        output: Buffer.concat(output).toString(),
        said: Buffer.concat(said).toString(),
      }),
    );
  });
}

function batch(namespace: string, lines: readonly string[]): void {
  run("ip", ["-n", namespace, "-batch", "-"], `${lines.join("\n")}\n`);
}

/** Resolves when `pid` is gone. @throws Error when it stays. */
export async function gone(pid: number, withinMs: number): Promise<void> {
  for (let waited = 0; isAlive(pid); waited += 20) {
    if (waited > withinMs) throw new Error(`process ${pid} does not end`);
    await pause(20);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
