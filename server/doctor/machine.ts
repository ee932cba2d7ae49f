/** What the doctor reads of the machine it runs on: /proc and /sys as text. Tests give it a tree of their own. */

import { execFile } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { type NetworkInterfaceInfo, networkInterfaces } from "node:os";
import { join } from "node:path";

export interface Machine {
  /** Content without the line's end; `undefined` where there is none, or it must not be read. */
  read(path: string): string | undefined;
  list(path: string): readonly string[];
  /** Where a symbolic link leads. */
  link(path: string): string | undefined;
  addresses(): NodeJS.Dict<NetworkInterfaceInfo[]>;
  /** What a program prints; `undefined` where it is missing, fails or takes 5 s. */
  run(program: string, ...args: readonly string[]): Promise<string | undefined>;
  /** This process. */
  readonly pid: number;
}

const patienceMs = 5000;

/** @param root - `/`, but for tests */
export function createMachine(root = "/"): Machine {
  const orNothing = <T>(read: () => T): T | undefined => {
    try {
      return read();
    } catch {
      return undefined; // gone, or not for us: an answer too
    }
  };
  return {
    read: (path) => orNothing(() => readFileSync(join(root, path), "utf8").trimEnd()),
    list: (path) => orNothing(() => readdirSync(join(root, path))) ?? [],
    link: (path) => orNothing(() => readlinkSync(join(root, path))),
    addresses: networkInterfaces,
    run: (program, ...args) =>
      new Promise((resolve) => {
        execFile(program, [...args], { timeout: patienceMs }, (error, output) =>
          resolve(error ? undefined : output),
        );
      }),
    pid: process.pid,
  };
}

export interface BoundSocket {
  readonly protocol: "udp" | "tcp";
  /** `0.0.0.0` and `::` for any. */
  readonly address: string;
  readonly port: number;
  readonly inode: string;
}

/** UDP sockets with a port, and TCP sockets that listen. */
export function boundSockets(machine: Machine): readonly BoundSocket[] {
  return (["udp", "tcp"] as const).flatMap((protocol) =>
    ["", "6"].flatMap((family) => {
      const [, ...lines] = (machine.read(`proc/net/${protocol}${family}`) ?? "").split("\n");
      return lines.flatMap((line) => parseSocket(protocol, line));
    }),
  );
}

const tcpListens = "0A";

/** `  12: 0100007F:1F40 00000000:0000 0A … inode …`, numbers in the machine's (little-endian) order. */
function parseSocket(protocol: "udp" | "tcp", line: string): readonly BoundSocket[] {
  const [, local = "", , state, , , , , , inode = ""] = line.trim().split(/\s+/);
  const [addressHex = "", portHex = ""] = local.split(":");
  if (portHex === "" || (protocol === "tcp" && state !== tcpListens)) return [];
  const address =
    addressHex.length === 8
      ? (addressHex.match(/../g) ?? [])
          .map((octet) => Number.parseInt(octet, 16))
          .toReversed()
          .join(".")
      : /^0+$/.test(addressHex)
        ? "::"
        : "IPv6";
  return [{ protocol, address, port: Number.parseInt(portHex, 16), inode }];
}

export interface Holder {
  readonly pid: number;
  /** `dnsmasq`. */
  readonly name: string;
  readonly isMarcoboot: boolean;
}

/** Who has these sockets open; only root sees the sockets of others. */
export function holdersOf(
  machine: Machine,
  inodes: ReadonlySet<string>,
): ReadonlyMap<string, Holder> {
  const found = new Map<string, Holder>();
  if (inodes.size === 0) return found;
  for (const pid of machine.list("proc").filter((name) => /^\d+$/.test(name))) {
    for (const fd of machine.list(`proc/${pid}/fd`)) {
      const inode = /^socket:\[(?<inode>\d+)\]$/.exec(machine.link(`proc/${pid}/fd/${fd}`) ?? "")
        ?.groups?.["inode"];
      if (inode !== undefined && inodes.has(inode)) found.set(inode, holder(machine, Number(pid)));
    }
  }
  return found;
}

function holder(machine: Machine, pid: number): Holder {
  const command = (machine.read(`proc/${pid}/cmdline`) ?? "").split("\0");
  const isOurs = command.some((word) => /(?:^|\/)(?:marcoboot|server\/cli\/main\.ts)$/.test(word));
  return {
    pid,
    name: machine.read(`proc/${pid}/comm`) ?? "a program",
    isMarcoboot: pid === machine.pid || (isOurs && command.includes("serve")),
  };
}

/** Effective capabilities of a process, a bit each (linux/capability.h). */
export function capabilitiesOf(machine: Machine, pid: number | "self"): bigint | undefined {
  const status = machine.read(`proc/${pid}/status`) ?? "";
  const mask = /^CapEff:\s*(?<mask>[0-9a-f]+)$/m.exec(status)?.groups?.["mask"];
  return mask === undefined ? undefined : BigInt(`0x${mask}`);
}

export function hasCapability(mask: bigint, bit: number): boolean {
  return (mask & (1n << BigInt(bit))) !== 0n;
}
