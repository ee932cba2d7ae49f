/**
 * The laboratory's network: one namespace with a bridge and the taps of the
 * guests, one with the server, one veth pair between them.
 *
 *   +-- <prefix>-sw ----------------------------+   +-- <prefix>-srv --+
 *   |  tap a1   tap a2   tap b1   veth (ROM)    |   |                  |
 *   |     \_______\________\_________\__ br0 ---uplink===eth0 10.77.0.1|
 *   +-------------------------------------------+   +------------------+
 *
 * The prefix holds the ids of process and thread, so runs do not meet; deleting the namespaces
 * removes every interface in them. Neither namespace has a default route.
 */

import { existsSync } from "node:fs";
import { threadId } from "node:worker_threads";
import type { Cleanup } from "./cleanup.ts";
import { endProcess, isAlive } from "./cleanup.ts";
import { run } from "./command.ts";

export interface LabNetwork {
  readonly prefix: string;
  readonly switchNamespace: string;
  readonly serverNamespace: string;
  /** Name of the server's interface inside its namespace. */
  readonly serverInterface: string;
  /** Makes a tap on the bridge, for a QEMU that runs in the switch namespace. At most 15 characters. */
  addTap(name: string): void;
  /** Makes a namespace of its own on the bridge; its interface `eth0` has `mac` and is down. Returns the namespace. */
  addHost(name: string, mac: string): string;
  close(): void;
}

const namespacePrefix = "mb";

/** Removes namespaces of runs whose process is gone: nothing could clean up after a SIGKILL. */
export function removeStaleNamespaces(): void {
  for (const line of run("ip", ["netns", "list"]).split("\n")) {
    const [name = ""] = line.split(" ");
    const pid = /^mb(?<pid>\d+)(?:t\d+)?(?:n\d+)?-/.exec(name)?.groups?.["pid"];
    if (pid === undefined || isAlive(Number(pid))) continue;
    try {
      for (const left of processesIn(name)) endProcess(left);
      run("ip", ["netns", "delete", name]);
    } catch (error) {
      if (existsSync(`/run/netns/${name}`)) throw error; // else another run was quicker
    }
  }
}

/** Whoever still runs in one of our namespaces was started by us, or by what we started (a server's Redis). */
function processesIn(namespace: string): readonly number[] {
  return run("ip", ["netns", "pids", namespace]).split(/\s+/).filter(Boolean).map(Number);
}

let count = 0;

/**
 * @param serverAddress - with prefix length, `10.77.0.1/24`.
 * @throws Error when namespaces cannot be made (root is needed).
 */
export function createNetwork(serverAddress: string, cleanup: Cleanup): LabNetwork {
  count += 1;
  const prefix = `${namespacePrefix}${process.pid}t${threadId}n${count}`;
  const switchNamespace = `${prefix}-sw`;
  const serverNamespace = `${prefix}-srv`;
  const made: string[] = [];
  const close = () => {
    for (let name = made.pop(); name !== undefined; name = made.pop()) {
      for (const pid of processesIn(name)) endProcess(pid);
      run("ip", ["netns", "delete", name]);
    }
  };
  cleanup.add(`namespaces of ${prefix}`, close);
  const makeNamespace = (name: string) => {
    run("ip", ["netns", "add", name]);
    made.push(name);
    run("ip", ["-n", name, "link", "set", "lo", "up"]);
  };
  makeNamespace(switchNamespace);
  makeNamespace(serverNamespace);
  batch(switchNamespace, [
    "link add br0 type bridge stp_state 0 forward_delay 0",
    "link set br0 up",
    `link add uplink type veth peer name eth0 netns ${serverNamespace}`,
    "link set uplink master br0 up",
  ]);
  batch(serverNamespace, [`addr add ${serverAddress} brd + dev eth0`, "link set eth0 up"]);

  return {
    prefix,
    switchNamespace,
    serverNamespace,
    serverInterface: "eth0",
    addTap(name) {
      batch(switchNamespace, [`tuntap add dev ${name} mode tap`, `link set ${name} master br0 up`]);
    },
    addHost(name, mac) {
      const namespace = `${prefix}-${name}`;
      makeNamespace(namespace);
      batch(switchNamespace, [
        `link add ${name}v type veth peer name eth0 address ${mac} netns ${namespace}`,
        `link set ${name}v master br0 up`,
      ]);
      return namespace;
    },
    close,
  };
}

function batch(namespace: string, lines: readonly string[]): void {
  run("ip", ["-n", namespace, "-batch", "-"], `${lines.join("\n")}\n`);
}
