/**
 * Hardware that switches the outlets of the laboratory's power strip, each as the
 * server finds it: Debian's snmpd and OpenIPMI's ipmi_sim on addresses of their
 * own in the server's namespace, and programs in place of gpiod's.
 */

import { execFile, spawn } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Cleanup, endProcess } from "../../../scripts/lab/cleanup.ts";
import { inNamespace, run } from "../../../scripts/lab/command.ts";
import type { LabNetwork } from "../../../scripts/lab/namespaces.ts";
import { type IpmiSim, writeIpmiSim } from "../ipmi-sim.ts";
import type { OutletTable } from "./strip-table.ts";

export interface HardwareOptions {
  readonly network: Pick<LabNetwork, "serverNamespace">;
  readonly cleanup: Cleanup;
  /** Of this piece of hardware alone. */
  readonly directory: string;
  /** Power socket of the strip. */
  readonly socket: string;
}

const here = import.meta.dirname;
const node = process.execPath;

/** pethPsePortAdminEnable of group 1 (RFC 3621), a TruthValue. */
export const poePorts = (outlets: readonly string[]): OutletTable => ({
  control: "1.3.6.1.2.1.105.1.1.1.3",
  state: "1.3.6.1.2.1.105.1.1.1.3",
  on: 1,
  off: 2,
  rows: Object.fromEntries(outlets.map((outlet, index) => [`1.${index + 1}`, outlet])),
});

/** PowerNet-MIB: rPDUOutletControlOutletCommand and rPDUOutletStatusOutletState. */
export const apcOutlets = (outlets: readonly string[]): OutletTable => ({
  control: "1.3.6.1.4.1.318.1.1.12.3.3.1.1.4",
  state: "1.3.6.1.4.1.318.1.1.12.3.5.1.1.4",
  on: 1,
  off: 2,
  rows: Object.fromEntries(outlets.map((outlet, index) => [`${index + 1}`, outlet])),
});

/** snmpd at port 161 of `address`, with one table that may be written with `community`. */
export async function startSnmpDevice(
  address: string,
  community: string,
  table: OutletTable,
  options: HardwareOptions,
): Promise<void> {
  const { directory, socket } = options;
  mkdirSync(directory, { recursive: true });
  const program = join(directory, "table");
  writeProgram(
    program,
    `exec ${node} ${join(here, "strip-table.ts")} ${socket} '${JSON.stringify(table)}'`,
  );
  const roots = new Set(
    [table.control, table.state].map((oid) => oid.split(".").slice(0, -3).join(".")),
  );
  writeFileSync(
    join(directory, "snmpd.conf"),
    [
      `rwcommunity ${community}`,
      ...[...roots].map((root) => `pass_persist .${root} ${program}`),
      "",
    ].join("\n"),
  );
  addAddress(address, options);
  const words = ["-f", "-LE", "3", "-C", "-c", join(directory, "snmpd.conf"), `udp:${address}:161`];
  start("snmpd", words, { SNMP_PERSISTENT_DIR: directory }, options);
  const [index] = Object.keys(table.rows);
  const oid = `${table.state}.${index}`;
  await until(`snmpd at ${address}`, () =>
    inServer(options, "snmpget", ["-v", "2c", "-c", community, "-t", "2", "-r", "0", address, oid]),
  );
}

/** What ipmi_sim runs to ask and switch the chassis (ipmi_lan(5), chassis_control). */
const chassis = (socket: string, outlet: string) => {
  const ask = `${node} ${join(here, "strip-client.ts")} ${socket}`;
  return `shift; verb=$1; shift
if [ "$verb" = get ]; then
  for one; do
    [ "$one" = power ] && { [ "$(${ask} query ${outlet})" = on ] && echo power:1 || echo power:0; }
  done
else
  while [ $# -gt 1 ]; do
    [ "$1" = power ] && { [ "$2" = 1 ] && ${ask} on ${outlet} || ${ask} off ${outlet}; } >/dev/null
    shift 2
  done
fi
exit 0`;
};

/** ipmi_sim at port 623 of `address`: its chassis is one outlet of the strip. */
export async function startBmc(
  bmc: Pick<IpmiSim, "address" | "user" | "password">,
  outlet: string,
  options: HardwareOptions,
): Promise<void> {
  const { directory, socket } = options;
  const { address, user, password } = bmc;
  const words = writeIpmiSim(directory, { ...bmc, port: 623, chassis: chassis(socket, outlet) });
  addAddress(address, options);
  start("ipmi_sim", words, {}, options);
  const asked = ["-I", "lanplus", "-C", "3", "-H", address, "-U", user, "-P", password];
  await until(`ipmi_sim at ${address}`, () =>
    inServer(options, "ipmitool", [...asked, "chassis", "power", "status"]),
  );
}

/**
 * Programs that take the place of gpiod's in `directory`: the lines of the relay
 * board switch outlets of the strip. As with gpiod 1, a process stays behind that
 * holds the line, and nothing but that tells the state.
 */
export function makeGpioRelays(
  outlets: ReadonlyMap<number, string>,
  { directory, socket }: Pick<HardwareOptions, "directory" | "socket">,
): void {
  mkdirSync(directory, { recursive: true });
  const rows = [...outlets].map(([line, outlet]) => `    ${line}) outlet=${outlet};;`).join("\n");
  writeProgram(
    join(directory, "gpioset"),
    `[ "$1" = --version ] && { echo "gpioset (libgpiod) v1.6.3"; exit 0; }
low=0 held= value=
for word; do
  case "$word" in
    --active-low) low=1;;
    --background) held=1;;
    [0-9]*=[01]) value=$word;;
  esac
done
case "\${value%=*}" in
${rows}
    *) echo "gpioset: no such line" >&2; exit 1;;
esac
if [ -n "$HOLDER" ]; then
  sleep infinity & child=$!
  trap 'kill $child; exit 0' TERM
  wait; exit 0
fi
# The relay closes while the line is low.
[ $(( \${value#*=} ^ low )) = 0 ] && verb=on || verb=off
${node} ${join(here, "strip-client.ts")} ${socket} $verb $outlet >/dev/null || exit 1
[ -n "$held" ] && { HOLDER=1 setsid "$0" "$@" </dev/null >/dev/null 2>&1 & }
exit 0`,
  );
}

function writeProgram(path: string, text: string): void {
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
}

function addAddress(address: string, { network }: HardwareOptions): void {
  run("ip", ["-n", network.serverNamespace, "addr", "add", `${address}/32`, "dev", "lo"]);
}

function start(
  program: string,
  words: readonly string[],
  environment: Readonly<Record<string, string>>,
  { network, cleanup }: HardwareOptions,
): void {
  const [command, args] = inNamespace(network.serverNamespace, program, words);
  const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ...environment };
  const { pid } = spawn(command, args, { stdio: "ignore", env });
  cleanup.add(`${program} ${pid}`, () => endProcess(pid));
}

/** Without waiting for it in vain: who is asked asks the strip, which may be this process. */
async function inServer(
  { network }: HardwareOptions,
  program: string,
  words: readonly string[],
): Promise<void> {
  await promisify(execFile)("ip", ["netns", "exec", network.serverNamespace, program, ...words]);
}

const tries = 40;

async function until(what: string, ask: () => Promise<void>): Promise<void> {
  for (let count = 1; ; count++) {
    try {
      return await ask();
    } catch (cause) {
      if (count === tries) throw new Error(`${what} does not answer`, { cause });
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
}
