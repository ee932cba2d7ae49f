/**
 * One Ethernet segment in namespaces: a bridge, and whoever is plugged into it.
 *
 *   +-- <prefix>-sw --------+
 *   |  br0 === port === port|==== lan0 of each member, in a namespace of its own
 *   +-----------------------+
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { ExecutionContext } from "ava";
import { ip, type Namespace, namespace } from "./namespaces.ts";
import { temporaryDirectory } from "./temporary.ts";

export interface Segment {
  /** A new namespace with `lan0` on the segment. At most 5 characters. */
  plug(name: string, member: { readonly mac: string; readonly address?: string }): Namespace;
}

/** @param prefix - of the namespaces' names, so that tests do not meet */
export function segment(t: ExecutionContext, prefix: string): Segment {
  const bridge = namespace(t, `${prefix}sw`);
  ip("-n", bridge.name, "link", "add", "br0", "type", "bridge");
  ip("-n", bridge.name, "link", "set", "br0", "up");
  return {
    plug(name, { mac, address }) {
      const member = namespace(t, `${prefix}${name}`);
      const port = `p-${name}`;
      ip(
        ...["-n", bridge.name, "link", "add", port, "type", "veth"],
        ...["peer", "name", "lan0", "address", mac, "netns", member.name],
      );
      ip("-n", bridge.name, "link", "set", port, "master", "br0");
      ip("-n", bridge.name, "link", "set", port, "up");
      if (address) ip("-n", member.name, "address", "add", address, "dev", "lan0");
      ip("-n", member.name, "link", "set", "lan0", "up");
      return member;
    },
  };
}

export interface DhcpPeer {
  /** The next thing it says that `wanted` takes, an event for example. */
  says(wanted: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>;
  /** Ends it and gives its packets by outcome. */
  end(): Promise<Record<string, number>>;
}

const child = new URL("../peer/segment-child.ts", import.meta.url).pathname;

/**
 * Starts our DHCP server in a namespace, with the boot files' names and no files.
 *
 * @param members - of the configuration
 */
export async function startDhcpServer(
  t: ExecutionContext,
  where: Namespace,
  members: Readonly<Record<string, unknown>>,
  ...reservations: readonly string[]
): Promise<DhcpPeer> {
  const path = join(temporaryDirectory(t), "server.yaml");
  writeFileSync(path, JSON.stringify(members));
  const started = where.start(process.execPath, child, path, ...reservations);
  if (!started.stdout) throw new RangeError("no standard output");
  const lines = createInterface({ input: started.stdout })[Symbol.asyncIterator]();
  const says: DhcpPeer["says"] = async (wanted) => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done) throw new Error("the server ended");
      const line = JSON.parse(String(value)) as Record<string, unknown>;
      if (wanted(line)) return line;
    }
  };
  await says((line) => line["ready"] === true);
  return {
    says,
    end: async () => {
      started.kill("SIGTERM");
      const line = await says((one) => one["counts"] !== undefined);
      return line["counts"] as Record<string, number>;
    },
  };
}

/** A DHCP server of somebody else's: gives 10.77.0.200 to .250 to whoever asks. */
export function startDnsmasq(t: ExecutionContext, where: Namespace): void {
  where.start(
    "dnsmasq",
    ...["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root"],
    ...["--interface=lan0", "--bind-interfaces", "--no-ping", "--dhcp-authoritative"],
    "--dhcp-range=10.77.0.200,10.77.0.250,1h",
    `--dhcp-leasefile=${join(temporaryDirectory(t), "leases")}`,
    `--pid-file=${join(temporaryDirectory(t), "pid")}`,
  );
}

export const cli = new URL("../../server/cli/main.ts", import.meta.url).pathname;

/**
 * The whole server, as `marcoboot serve` starts it.
 *
 * @param members - of the configuration; the state directory is a temporary one
 */
export async function serve(
  t: ExecutionContext,
  where: Namespace,
  members: Readonly<Record<string, unknown>>,
): Promise<void> {
  const stateDirectory = temporaryDirectory(t);
  const config = join(stateDirectory, "server.yaml");
  writeFileSync(config, JSON.stringify({ stateDirectory, logLevel: "silent", ...members }));
  const running = where.start(process.execPath, cli, "serve", "--config", config);
  if (!running.stdout) throw new RangeError("no standard output");
  for await (const line of createInterface({ input: running.stdout })) {
    if (line === "ready") return;
  }
  throw new Error("the server did not start");
}
