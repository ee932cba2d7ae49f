/**
 * Servers that a rack of simulated boards boots from: ours, and dnsmasq in the
 * ways it is used for Raspberry Pis. Each is started anew for a trial, without
 * leases, in the namespace of the laboratory's server.
 *
 *   marcoboot       `marcoboot serve` with a pool; every binding on disk before its OFFER
 *   marcoboot-proxy in mode `proxy`, beside the same site's DHCP server as the next
 *   dnsmasq-proxy   as Raspberry Pi's documentation has it: `dhcp-range=…,proxy`, `pxe-service`,
 *                   beside the site's DHCP server (here another dnsmasq that does not probe addresses)
 *   dnsmasq         addresses, PXE and TFTP in one, everything else by default
 *   dnsmasq-tuned   the same without its address probe, and with room for 1000 transfers at once
 */

import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { createWriteStream, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { crc32 } from "node:zlib";
import { stringify } from "yaml";
import { type Cleanup, endProcess } from "./cleanup.ts";
import { inNamespace, run } from "./command.ts";
import type { LabNetwork } from "./namespaces.ts";

export const bootServerNames = [
  "marcoboot",
  "dnsmasq-proxy",
  "dnsmasq",
  "dnsmasq-tuned",
  "marcoboot-proxy",
] as const;
export type BootServerName = (typeof bootServerNames)[number];

export interface BootTree {
  /** For dnsmasq's `tftp-root`. */
  readonly root: string;
  /** For ours. */
  readonly loaders: string;
  readonly netinst: string;
  /** crc32 in hexadecimal of the files whose content is the same from every server. */
  readonly checksums: ReadonlyMap<string, string>;
}

/** Sizes of Debian's raspi-firmware 1.20220830; the content is random. */
const firmwareFiles = {
  "bootcode.bin": 52_460,
  "start.elf": 2_973_536,
  "fixup.dat": 7_262,
  "start4.elf": 2_249_280,
  "fixup4.dat": 5_399,
  "bcm2710-rpi-3-b.dtb": 14_993,
  "bcm2711-rpi-4-b.dtb": 27_386,
  "bcm2712-rpi-5-b.dtb": 78_000,
} as const;

const pxeFiles = ["ipxe-x64.efi", "ipxe-arm64.efi", "undionly.kpxe"] as const;

/** Starts with the letters by which firmware knows a program. */
function efiProgram(bytes: number): Buffer {
  return Buffer.concat([Buffer.from("MZ"), randomBytes(bytes - 2)]);
}

/**
 * One set of files in the two layouts.
 *
 * @param mostBytes - no file is larger: where boots are needed, and not what they cost
 */
export function makeBootTree(
  directory: string,
  kernelBytes: number,
  mostBytes = Number.POSITIVE_INFINITY,
): BootTree {
  const sized = (bytes: number) => Math.min(bytes, mostBytes);
  const root = join(directory, "tftp");
  const loaders = join(directory, "loaders");
  const netinst = join(directory, "netinst");
  const firmware = join(loaders, "raspberry-pi");
  const arm64 = join(netinst, "arm64");
  const amd64 = join(netinst, "amd64");
  for (const one of [root, firmware, arm64, amd64]) mkdirSync(one, { recursive: true });
  const checksums = new Map<string, string>();
  const put = (name: string, content: Buffer, ...paths: readonly string[]) => {
    checksums.set(name, crc32(content).toString(16).padStart(8, "0"));
    for (const path of paths) writeFileSync(path, content);
  };
  for (const [name, size] of Object.entries(firmwareFiles)) {
    put(name, randomBytes(sized(size)), join(root, name), join(firmware, name));
  }
  put("kernel8.img", randomBytes(kernelBytes), join(root, "kernel8.img"), join(arm64, "kernel"));
  put("kernel", randomBytes(kernelBytes), join(amd64, "kernel"));
  for (const name of pxeFiles)
    put(name, efiProgram(sized(200_000)), join(root, name), join(loaders, name));
  const stage1 = randomBytes(sized(1_048_576));
  writeFileSync(join(root, "initrd.img"), stage1);
  const agent = Buffer.from("agent");
  const stage2Digest = createHash("sha256").update(agent).digest("hex");
  const described = { stage2Digest, stage2Bytes: agent.length };
  for (const architecture of [arm64, amd64]) {
    writeFileSync(join(architecture, "stage1.cpio.zst"), stage1);
    writeFileSync(join(architecture, "agent.squashfs"), agent);
    writeFileSync(join(architecture, "netinst.json"), JSON.stringify(described));
  }
  const config = "arm_64bit=1\nkernel=kernel8.img\ninitramfs initrd.img followkernel\n";
  writeFileSync(join(root, "config.txt"), config);
  writeFileSync(join(root, "cmdline.txt"), "console=serial0,115200\n");
  return { root, loaders, netinst, checksums };
}

export interface BootServerOptions {
  readonly name: BootServerName;
  readonly network: LabNetwork;
  /** Namespace of the site's own DHCP server; only dnsmasq-proxy needs it. */
  readonly routerNamespace: string;
  readonly tree: BootTree;
  /** Empty; state and logs go there. */
  readonly directory: string;
  /** Where our server's source lies. */
  readonly checkout: string;
  readonly cleanup: Cleanup;
}

export interface BootServer {
  stop(): Promise<void>;
}

/** Resolves when it serves. @throws Error with the end of its log when it does not. */
export async function startBootServer(options: BootServerOptions): Promise<BootServer> {
  mkdirSync(options.directory, { recursive: true });
  const { serverNamespace } = options.network;
  const { words, serving } = options.name.startsWith("marcoboot")
    ? { words: ours(options), serving: /^ready$/ }
    : { words: dnsmasqFor(options), serving: dnsmasqServes };
  if (!options.name.endsWith("-proxy")) return start(options, serverNamespace, words, serving);
  const routing = dnsmasq(options, "eth0", "router", [`--dhcp-range=${pool}`, "--no-ping"]);
  const router = await start(options, options.routerNamespace, routing, dnsmasqServes);
  const proxy = await start(options, serverNamespace, words, serving);
  return {
    async stop() {
      await Promise.all([router.stop(), proxy.stop()]);
    },
  };
}

const pool = "10.77.0.100,10.77.0.250,12h";
const dnsmasqServes = /started|sockets bound/;

function dnsmasqFor(options: BootServerOptions): readonly string[] {
  const { name, tree, network } = options;
  const range = name === "dnsmasq-proxy" ? "10.77.0.255,proxy" : pool;
  return dnsmasq(options, network.serverInterface, "dnsmasq", [
    ...[`--dhcp-range=${range}`, "--enable-tftp", `--tftp-root=${tree.root}`],
    "--pxe-service=0,Raspberry Pi Boot",
    ...(name === "dnsmasq-tuned" ? ["--no-ping", "--tftp-max=1000"] : []),
  ]);
}

function dnsmasq(
  options: BootServerOptions,
  interfaceName: string,
  name: string,
  words: readonly string[],
): readonly string[] {
  return [
    "dnsmasq",
    ...["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--log-facility=-"],
    ...["--user=root", `--interface=${interfaceName}`, "--bind-interfaces", "--log-dhcp"],
    `--dhcp-leasefile=${join(options.directory, `${name}.leases`)}`,
    `--pid-file=${join(options.directory, `${name}.pid`)}`,
    ...words,
  ];
}

function ours({ name, directory, tree, network, checkout }: BootServerOptions): readonly string[] {
  const config = join(directory, "marcoboot.yaml");
  const subnet = {
    cidr: "10.77.0.0/24",
    interface: network.serverInterface,
    ...(name === "marcoboot-proxy"
      ? { mode: "proxy" }
      : { reserved: ["10.77.0.10", "10.77.0.49"], pool: ["10.77.0.100", "10.77.0.250"] }),
  };
  writeFileSync(
    config,
    stringify({
      stateDirectory: join(directory, "state"),
      netinstDirectory: tree.netinst,
      loadersDirectory: tree.loaders,
      subnets: [subnet],
    }),
  );
  const main = join(resolve(checkout), "server", "cli", "main.ts");
  return [process.execPath, main, "serve", "--config", config];
}

const startWithinMs = 60_000;

async function start(
  options: BootServerOptions,
  namespace: string,
  [program = "", ...words]: readonly string[],
  serving: RegExp,
): Promise<BootServer> {
  const [command, args] = inNamespace(namespace, program, words);
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], cwd: options.checkout });
  const forget = options.cleanup.add(options.name, () => endProcess(child.pid));
  const exited = new Promise<void>((resolve) => {
    child.once("error", () => resolve());
    child.once("exit", () => resolve());
  }).finally(forget);
  const logPath = join(options.directory, "log");
  const log = createWriteStream(logPath, { flags: "a" });
  try {
    await sayingSo(child, serving, (line) => log.write(`${line}\n`));
  } catch (cause) {
    endProcess(child.pid);
    await exited;
    const tail = readFileSync(logPath, "utf8").split("\n").slice(-20).join("\n");
    throw new Error(`${options.name} did not start: ${String(cause)}\n${tail}`, { cause });
  }
  return {
    async stop() {
      if (child.exitCode === null && child.signalCode === null) endProcess(child.pid, "SIGTERM");
      const late = setTimeout(() => endProcess(child.pid), 15_000);
      await exited;
      clearTimeout(late);
      log.end();
    },
  };
}

function sayingSo(
  child: ChildProcess,
  serving: RegExp,
  onLine: (line: string) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("not in 60 s")), startWithinMs);
    const end = (finish: () => void) => {
      clearTimeout(timer);
      finish();
    };
    child.on("error", (error) => end(() => reject(error)));
    child.on("exit", (status) => end(() => reject(new Error(`it ended with ${status}`))));
    for (const stream of [child.stdout, child.stderr]) {
      if (!stream) continue;
      createInterface({ input: stream }).on("line", (line) => {
        onLine(line);
        if (serving.test(line)) end(resolve);
      });
    }
  });
}

/** The router's interface has its address only while it is needed: two servers would answer otherwise. */
export function prepareHosts(boards: string, router: string): void {
  run("ip", ["-n", boards, "link", "set", "eth0", "up"]);
  run("ip", ["-n", router, "addr", "add", "10.77.0.254/24", "brd", "+", "dev", "eth0"]);
  run("ip", ["-n", router, "link", "set", "eth0", "up"]);
}
