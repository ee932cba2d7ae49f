/**
 * The doctor and "why is this node stuck?" on a real wire: Debian's dnsmasq as the
 * server that should not be there, a bridge that speaks spanning tree, the whole
 * server, and simulated boards. Root, iproute2 and dnsmasq are needed.
 *
 *   +-- doctor --+     +-- switch (bridge, STP) --+     +-- dnsmasq --+
 *   |    lan0 -----------  port0        port1 ---------- eth0         |
 *   +------------+     +--------------------------+     +-------------+
 */

import { type ChildProcess, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import type { Finding, Timeline } from "#protocol/timeline.ts";
import type { Examination } from "../../server/doctor/doctor.ts";
import { cable, ip, type Namespace, namespace } from "../support/namespaces.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const program = new URL("../../server/cli/main.ts", import.meta.url).pathname;
const dnsmasq = "/usr/sbin/dnsmasq";
const lab = existsSync(dnsmasq) ? test.serial : test.skip;
if (!existsSync(dnsmasq)) console.warn(`skipped: ${dnsmasq} is not installed`);

const boards = { pi4: "dc:a6:32:00:00:01", pi3: "b8:27:eb:00:00:01" };
const password = "correct horse battery";
const own = mkdtempSync(join(tmpdir(), "marcoboot-test-"));
test.after.always(() => rmSync(own, { recursive: true, force: true }));

lab(
  "without a server: another DHCP and TFTP server, and the switch's spanning tree, are found",
  (t) => {
    const doctor = namespace(t, "dd");
    const middle = namespace(t, "dm");
    const other = namespace(t, "do");
    cable(
      { in: doctor, name: "lan0", address: "10.77.0.1/24" },
      { in: middle, name: "port0", mac: "52:54:00:ad:00:01" },
    );
    cable(
      { in: other, name: "eth0", address: "10.77.0.9/24" },
      { in: middle, name: "port1", mac: "52:54:00:ad:00:02" },
    );
    // a forward delay of 2 s, the least the kernel takes with STP, and a topology that settles at once
    ip(
      "-n",
      middle.name,
      "link",
      "add",
      "br0",
      "type",
      "bridge",
      "stp_state",
      "1",
      "forward_delay",
      "200",
    );
    for (const name of ["port0", "port1"])
      ip("-n", middle.name, "link", "set", name, "master", "br0");
    ip("-n", middle.name, "link", "set", "br0", "up");
    const directory = temporaryDirectory(t);
    const config = writeConfig(directory);
    other.start(
      dnsmasq,
      ...["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=eth0"],
      ...["--bind-interfaces", "--dhcp-range=10.77.0.200,10.77.0.210", "--leasefile-ro"],
      ...["--enable-tftp", `--tftp-root=${directory}`, "--pid-file", "--user=root"],
    );
    doctor.run("sleep", "6"); // the bridge's ports listen and learn: 2 s each

    const { status, value } = cli<Examination>(
      t,
      doctor,
      "doctor",
      "--config",
      config,
      "--listen",
      "5",
    );
    t.is(status, 1);
    t.false(value.isHealthy);
    const found = findingsOf(value);
    t.like(found.get("other-dhcp"), { severity: "problem" });
    t.regex(
      found.get("other-dhcp")?.text ?? "",
      /another DHCP server answers on lan0: 10\.77\.0\.9/,
    );
    t.regex(found.get("other-tftp")?.text ?? "", /10\.77\.0\.9/);
    t.regex(found.get("spanning-tree")?.text ?? "", /speaks STP.*up to 4 s after link-up/);
    t.like(found.get("interface"), { severity: "ok" });
    t.like(found.get("ports"), { severity: "ok" });
  },
);

lab("with a server: it is asked, holds its ports, and tells why a board is stuck", async (t) => {
  const server = namespace(t, "ds");
  const known = namespace(t, "dk");
  const strange = namespace(t, "dx");
  cable(
    { in: server, name: "lan0", address: "10.77.0.1/24" },
    { in: known, name: "eth0", mac: "52:54:00:ad:00:03" },
  );
  cable(
    { in: server, name: "lan1", address: "10.78.0.1/24" },
    { in: strange, name: "eth0", mac: "52:54:00:ad:00:04" },
  );
  const directory = temporaryDirectory(t);
  const config = writeConfig(directory);
  const child = server.start(process.execPath, program, "serve", "--config", config);
  const code = await untilReady(child);
  writeFileSync(join(directory, "password"), `${password}\n`);
  const here = ["--state", join(directory, "state")];
  cli(t, server, "setup", code, "admin", "--password-file", join(directory, "password"), ...here);

  // A board on the network with a pool fetches what is there and stops: no firmware files are.
  simulate(known, "pi4");
  // Strangers on a network that serves only known nodes are not answered.
  simulate(strange, "pi3");
  const why = (name: string) => cli<Timeline>(t, server, "node", "why", name, ...here).value;
  const stuck = why(boards.pi4);
  t.is(stuck.findings[0]?.code, "file-missing");
  t.regex(stuck.findings[0]?.text ?? "", /^start4?\.elf was asked for and is not there/);
  t.true(
    stuck.moments.some(({ text }) =>
      /^DISCOVER \(raspberry-pi-4\): OFFER 10\.77\.0\.1\d\d/.test(text),
    ),
  );
  const refused = why(boards.pi3);
  t.is(refused.findings[0]?.code, "unknown-client");
  t.regex(refused.findings[0]?.text ?? "", /10\.78\.0\.0\/24 is in mode reservation/);

  // What a board says of itself is told beside it.
  const address = stuck.moments
    .map(({ text }) => /OFFER (?<address>[\d.]+)/.exec(text)?.groups?.["address"])
    .find(Boolean);
  ip("-n", known.name, "address", "add", `${address}/24`, "dev", "eth0");
  known.run(
    process.execPath,
    ...[
      "-e",
      "const s = require('dgram').createSocket('udp4'); s.bind(6665, () => { s.setBroadcast(true); s.send('Firmware not found\\n', 6666, '10.77.0.255', () => s.close()); })",
    ],
  );
  let said = why(boards.pi4);
  const isSaid = () =>
    said.moments.some(
      ({ source, text }) => source === "netconsole" && text === "Firmware not found",
    );
  for (; !isSaid(); said = why(boards.pi4)) await sleep(200);
  t.is(said.findings[0]?.code, "said-it-itself");

  const asked = cli<Examination>(t, server, "doctor", "--listen", "1", ...here).value;
  const found = findingsOf(asked);
  t.regex(found.get("ports")?.text ?? "", /held by marcoboot/);
  t.like(found.get("no-other-dhcp"), { severity: "ok" });
  t.like(found.get("netinst-missing"), { severity: "problem" });
  // From beside the server: it keeps its hands off the wire.
  const beside = findingsOf(
    cli<Examination>(t, server, "doctor", "--listen", "1", "--config", config).value,
  );
  t.true(beside.has("others-not-asked"));
  t.regex(beside.get("ports")?.text ?? "", /held by marcoboot/);
});

function writeConfig(directory: string): string {
  for (const name of ["netinst", "loaders"]) mkdirSync(join(directory, name));
  const path = join(directory, "server.yaml");
  writeFileSync(
    path,
    `stateDirectory: state
netinstDirectory: netinst
loadersDirectory: loaders
logLevel: error
subnets:
  - { cidr: 10.77.0.0/24, interface: lan0, reserved: [10.77.0.10, 10.77.0.99], pool: [10.77.0.100, 10.77.0.199] }
  - { cidr: 10.78.0.0/24, interface: lan1, reserved: [10.78.0.10, 10.78.0.99] }
`,
  );
  return path;
}

/** Gives the set-up code of its console. */
async function untilReady({ stdout }: ChildProcess): Promise<string> {
  if (!stdout) throw new RangeError("no standard output");
  let code = "";
  for await (const line of createInterface({ input: stdout })) {
    code = /^set-up code: (?<code>\S+)$/.exec(line)?.groups?.["code"] ?? code;
    if (line === "ready") return code;
  }
  throw new Error("the server did not start");
}

function simulate(where: Namespace, board: keyof typeof boards): void {
  // The board's failure is what is looked at: any exit code will do.
  inside(
    where,
    "sim",
    board,
    "--interface",
    "eth0",
    "--first-mac",
    boards[board],
    "--timeout",
    "6s",
  );
}

function cli<Value = unknown>(
  t: ExecutionContext,
  where: Namespace,
  ...words: readonly string[]
): { readonly status: number | null; readonly value: Value } {
  const { status, stdout, stderr } = inside(where, ...words, "--json");
  if (stdout === "") t.log(stderr);
  return { status, value: JSON.parse(stdout) as Value };
}

function inside({ name }: Namespace, ...words: readonly string[]) {
  return spawnSync("ip", ["netns", "exec", name, process.execPath, program, ...words], {
    encoding: "utf8",
    env: { ...process.env, MARCOBOOT_TOKEN_FILE: join(own, "token") },
  });
}

function findingsOf({ checks }: Examination): ReadonlyMap<string, Finding> {
  return new Map(checks.flatMap(({ findings }) => findings.map((one) => [one.code, one] as const)));
}
