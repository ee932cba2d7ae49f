/**
 * Our announcements by DNS-SD seen by Avahi: its daemon and `avahi-browse` in a namespace of their
 * own, with a message bus of their own, on a cable to the namespace of our answerer.
 */

import { execFile, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { promisify } from "node:util";
import test, { type ExecutionContext } from "ava";
import { cable, ip, type Namespace, namespace } from "../support/namespaces.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const run = promisify(execFile);
const programs = ["avahi-daemon", "avahi-browse", "dbus-daemon"];
const absent = programs.find((name) => spawnSync("which", [name]).status !== 0);
const missing =
  process.getuid?.() !== 0
    ? "root is needed for network namespaces"
    : absent && `${absent} is not installed`;
const peer = missing ? test.skip : test.serial;
if (missing) console.warn(`skipped: ${missing}`);

peer("Avahi sees the server and its services, and that they are gone", async (t) => {
  const server = namespace(t, "av");
  const reader = namespace(t, "ab");
  cable(
    { in: server, name: "lan", address: "10.77.0.1/24" },
    { in: reader, name: "eth0", mac: "52:54:00:ad:00:02" },
  );
  ip("-n", reader.name, "address", "add", "10.77.0.9/24", "dev", "eth0");
  const directory = temporaryDirectory(t);
  const services = join(directory, "services");
  mkdirSync(services);
  writeFileSync(
    join(services, "deployer"),
    JSON.stringify({ id: "deployer", params: { port: 1342, arch: "arm64" } }),
  );
  const browse = await startAvahi(t, reader, directory);

  const child = new URL("../lab/responder-child.ts", import.meta.url).pathname;
  const keys = join(directory, "keys");
  const words = [child, keys, "lan", "10.77.0.1", "rack.example", "0", services];
  const answerer = server.start(process.execPath, ...words);
  if (!answerer.stdout) throw new RangeError("no standard output");
  await createInterface({ input: answerer.stdout })[Symbol.asyncIterator]().next();

  const [marcoboot] = await until(() => browse("_marcoboot._tcp"), 1);
  t.is(marcoboot?.name, "rack");
  t.regex(marcoboot?.host ?? "", /^rack-[0-9a-f]{8}\.local$/);
  t.is(marcoboot?.address, "10.77.0.1");
  t.is(marcoboot?.port, "8443");
  t.regex(marcoboot?.txt ?? "", /"url=https:\/\/10\.77\.0\.1:8443"/);
  t.regex(marcoboot?.txt ?? "", /"key=[0-9a-f]{16}"/);

  const [deployer] = await until(() => browse("_deployer._tcp"), 1);
  t.is(deployer?.port, "1342");
  t.is(deployer?.txt, '"arch=arm64"');

  answerer.kill("SIGTERM");
  await until(() => browse("_marcoboot._tcp"), 0);
  t.deepEqual(await browse("_deployer._tcp"), []);
});

interface Seen {
  readonly name: string;
  readonly host: string;
  readonly address: string;
  readonly port: string;
  readonly txt: string;
}

async function until(
  look: () => Promise<readonly Seen[]>,
  count: number,
): Promise<readonly Seen[]> {
  for (;;) {
    const seen = await look();
    if (seen.length === count) return seen;
    await setTimeout(200);
  }
}

/** @returns looks for a kind of service by IPv4. */
async function startAvahi(
  t: ExecutionContext,
  where: Namespace,
  directory: string,
): Promise<(kind: string) => Promise<readonly Seen[]>> {
  const socket = join(directory, "bus");
  const bus = join(directory, "bus.conf");
  writeFileSync(
    bus,
    `<busconfig><type>system</type><listen>unix:path=${socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_type="signal"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>`,
  );
  const config = join(directory, "avahi.conf");
  writeFileSync(
    config,
    `[server]
host-name=reader
use-ipv6=no
allow-interfaces=eth0
enable-dbus=yes
[publish]
disable-publishing=yes
`,
  );
  where.start("dbus-daemon", `--config-file=${bus}`, "--nofork");
  await appears(socket);
  const environment = { ...process.env, DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${socket}` };
  // `ip netns exec` gives a mount namespace: its run directory is nobody else's.
  const daemon = where.start(
    ...(["sh", "-c"] as const),
    `mkdir -p /run/avahi-daemon && mount -t tmpfs none /run/avahi-daemon &&
     exec env DBUS_SYSTEM_BUS_ADDRESS=unix:path=${socket} \
     avahi-daemon --no-drop-root --no-chroot --no-proc-title -f ${config} 2>&1`,
  );
  const lines: string[] = [];
  if (!daemon.stdout) throw new RangeError("no standard output");
  createInterface({ input: daemon.stdout }).on("line", (line) => lines.push(line));
  t.teardown(() => t.passed || t.log(lines.join("\n")));
  return async (kind) => {
    const command = ["netns", "exec", where.name, "avahi-browse", "--resolve", "--parsable"];
    try {
      const { stdout } = await run("ip", [...command, "--terminate", kind], { env: environment });
      return stdout.split("\n").flatMap(seen);
    } catch (error) {
      if (/Daemon not running|Failed to create client/.test(String(error))) return []; // not yet
      throw error;
    }
  };
}

/** `=;eth0;IPv4;rack;_marcoboot._tcp;local;rack-1f3a.local;10.77.0.1;8443;"key=…" "url=…"` */
function seen(line: string): readonly Seen[] {
  const [mark, , , name = "", , , host = "", address = "", port = "", txt = ""] = line.split(";");
  return mark === "=" ? [{ name, host, address, port, txt }] : [];
}

async function appears(path: string): Promise<void> {
  while (!existsSync(path)) await setTimeout(20);
}
