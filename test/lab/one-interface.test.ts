/**
 * The whole server on a machine with two networks, of which it was given one: whatever
 * the other network asks, not one packet of ours leaves there. Captured by tcpdump.
 */

import { type ChildProcess, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test, { type ExecutionContext } from "ava";
import { cable, ip, type Namespace, namespace } from "../support/namespaces.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const root = new URL("../..", import.meta.url).pathname;
const mac = "52:54:00:a9:00:01";
const otherMac = "52:54:00:a9:00:02";

/** The kernel's own answers are not ours: ARP, ICMP, and the reset of a connection nobody listens to. */
const ours = "not arp and not icmp and not ip6 and not tcp[tcpflags] & tcp-rst != 0";

test.serial("two interfaces, one served: not one packet leaves by the other", async (t) => {
  const server = namespace(t, "oi");
  const served = namespace(t, "oc");
  const other = namespace(t, "ox");
  cable({ in: server, name: "lan0", address: "10.77.0.1/24" }, { in: served, name: "eth0", mac });
  cable(
    { in: server, name: "lan1", address: "10.78.0.1/24" },
    { in: other, name: "eth0", mac: otherMac },
  );
  await startServer(t, server);
  const [here, there] = await Promise.all([capture(served), capture(other)]);

  // The network that is served: it works, and the capture sees it.
  t.is(udhcpc(served, 30).status, 0);
  ip("-n", served.name, "address", "add", "10.77.0.100/24", "dev", "eth0");
  t.is(ask(served, "10.77.0.1", 20), "http 404 tftp not-found agent tls discovery");
  // The other one asks the same, of both our addresses, and as a relay agent would.
  t.is(udhcpc(other, 3).status, 1);
  ip("-n", other.name, "address", "add", "10.78.0.100/24", "dev", "eth0");
  ip("-n", other.name, "route", "add", "10.77.0.1/32", "dev", "eth0");
  for (const address of ["10.77.0.1", "10.78.0.1"]) t.is(ask(other, address, 2), "");

  t.true((await here()).length > 0);
  t.deepEqual(await there(), []);
});

async function startServer(t: ExecutionContext, where: Namespace): Promise<void> {
  const directory = temporaryDirectory(t);
  for (const name of ["netinst", "loaders"]) mkdirSync(join(directory, name));
  const config = join(directory, "server.yaml");
  writeFileSync(
    config,
    `stateDirectory: state
netinstDirectory: netinst
loadersDirectory: loaders
logLevel: error
subnets:
  - cidr: 10.77.0.0/24
    interface: lan0
    reserved: [10.77.0.10, 10.77.0.99]
    pool: [10.77.0.100, 10.77.0.199]
`,
  );
  const child = where.start(
    process.execPath,
    join(root, "server/cli/main.ts"),
    "serve",
    "--config",
    config,
  );
  await line(child, /^ready$/);
}

async function line(child: ChildProcess, pattern: RegExp): Promise<void> {
  if (!child.stdout) throw new RangeError("no standard output");
  for await (const text of createInterface({ input: child.stdout })) {
    if (pattern.test(text)) return;
  }
  throw new Error(`it ended without ${pattern}`);
}

/** Starts a capture; the function ends it and gives what came from the server, a line each. */
async function capture(where: Namespace): Promise<() => Promise<readonly string[]>> {
  const source = where.run("ip", "-o", "link", "show", "eth0").includes(mac) ? "lan0" : "lan1";
  const file = `/tmp/marcoboot-${where.name}.pcap`;
  const child = where.start(
    ...(["sh", "-c"] as const),
    `exec tcpdump --immediate-mode -U -n -i eth0 -Q in -w ${file} '${ours}' 2>&1`,
  );
  await line(child, /listening on eth0/);
  return async () => {
    child.kill("SIGINT");
    if (child.exitCode === null) await new Promise((resolve) => child.once("exit", resolve));
    const text = where.run("tcpdump", "-n", "-r", file);
    where.run("rm", file);
    return text
      .split("\n")
      .filter((one) => one !== "")
      .map((one) => `${source}: ${one}`);
  };
}

function udhcpc(where: Namespace, tries: number): { readonly status: number | null } {
  return spawnSync("ip", [
    ...["netns", "exec", where.name, "udhcpc", "-i", "eth0", "-f", "-n", "-q"],
    ...["-t", String(tries), "-T", "1", "-A", "1", "-s", "/bin/true"],
  ]);
}

/** Everything a client can ask for; the names of what was answered. */
/** @param seconds - how long an answer is waited for */
function ask(where: Namespace, address: string, seconds: number): string {
  const child = new URL("asking-child.ts", import.meta.url).pathname;
  return where.run(process.execPath, child, address, String(seconds)).trim();
}
