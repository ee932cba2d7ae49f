/** A boot profile over a temporary netinst and loaders, a few nodes, and a token window. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import {
  instant,
  type JobId,
  type MacAddress,
  type NodeId,
  parseIpv4Address,
  parseMacAddress,
} from "#protocol/brand.ts";
import type { Job, Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import type { BootClient } from "../../server/boot/client.ts";
import { loaderNames } from "../../server/boot/loaders.ts";
import { type Boot, type BootContext, createBoot } from "../../server/boot/profile.ts";
import { parseConfig, type Subnet } from "../../server/config.ts";
import { createEventBus } from "../../server/events.ts";
import { silentLog } from "../../server/log.ts";
import { temporaryDirectory } from "../support/temporary.ts";

export const serverKey = Buffer.alloc(32, 7).toString("base64");
export const server = {
  address: parseIpv4Address("10.77.0.1"),
  httpUrl: "http://10.77.0.1:8080",
};
export const digest = "ab".repeat(32);
export const token = "0123456789abcdef0123456789abcdef";

/** The Pi 3 of boot-facts §1: low three octets of the serial are those of the MAC address. */
export const pi3 = parseMacAddress("b8:27:eb:be:e2:6d");
export const pi4 = parseMacAddress("dc:a6:32:01:36:c2");
export const pc = parseMacAddress("52:54:00:00:00:01");
export const addresses = {
  [pi3]: parseIpv4Address("10.77.0.11"),
  [pi4]: parseIpv4Address("10.77.0.12"),
  [pc]: parseIpv4Address("10.77.0.13"),
} as const;

export function node(mac: MacAddress, change: Partial<Node> = {}): Node {
  return {
    id: `node_${mac.replaceAll(":", "")}` as NodeId,
    name: "n",
    mac,
    state: "discovered",
    quarantined: false,
    power: "on",
    connection: "offline",
    createdAt: instant(0),
    updatedAt: instant(0),
    ...change,
  };
}

export interface Laboratory {
  readonly boot: Boot;
  readonly directory: string;
  /** Put and delete to change what the journal says. */
  readonly nodes: Map<MacAddress, Node>;
  readonly tasks: Task[];
  readonly jobs: Map<JobId, Job>;
  /** As if the server had been killed and started anew. */
  restart(): void;
  /** Nodes whose enrolment window is open. */
  readonly windows: Map<MacAddress, string>;
  /** A file's text, or undefined: not found. */
  tftp(name: string, from: MacAddress): string | undefined;
  http(name: string, from: MacAddress): string | undefined;
}

export function laboratory(
  t: ExecutionContext,
  change: Partial<Pick<BootContext["config"], "kernelArguments" | "replyDelaySeconds">> & {
    readonly secureBoot?: Subnet["secureBoot"];
  } = {},
): Laboratory {
  const { secureBoot = "auto", ...changed } = change;
  const directory = temporaryDirectory(t);
  writeArtefacts(directory);
  const config = parseConfig(
    [
      "netinstDirectory: netinst",
      "loadersDirectory: loaders",
      "subnets: [{ cidr: 10.77.0.0/24, interface: lan0, reserved: [10.77.0.10, 10.77.0.99] }]",
    ].join("\n"),
    join(directory, "marcoboot.yaml"),
  );
  const nodes = new Map<MacAddress, Node>();
  const tasks: Task[] = [];
  const jobs = new Map<JobId, Job>();
  const windows = new Map<MacAddress, string>();
  const macs = new Map(Object.entries(addresses).map(([mac, at]) => [at, parseMacAddress(mac)]));
  const context: BootContext = {
    config: {
      ...config,
      ...changed,
      subnets: config.subnets.map((subnet) => ({ ...subnet, secureBoot })),
    },
    store: {
      nodes: { byMac: (mac) => nodes.get(mac) },
      tasks: {
        unfinishedOf: (id) => tasks.filter(({ nodeId }) => nodeId === id),
        put: (task) =>
          void tasks.splice(
            tasks.findIndex(({ id }) => id === task.id),
            1,
            task,
          ),
      },
      jobs: { get: (id) => jobs.get(id) },
    },
    images: { bootFilesOf: (digest) => join(directory, "images", digest) },
    leases: { macOf: (address) => macs.get(address) },
    windows: { tokenFor: (mac) => windows.get(mac) },
    site: { serverKey },
    servers: [server],
    events: createEventBus(silentLog),
    log: silentLog,
  };
  let boot = createBoot(context);
  const open = (protocol: "tftp" | "http") => (name: string, from: MacAddress) => {
    const address = Object.entries(addresses).find(([mac]) => mac === from)?.[1];
    const file = boot.files.open(name, {
      address: address ?? parseIpv4Address("10.77.0.99"),
      protocol,
    });
    return file && Buffer.from(file.bytes()).toString();
  };
  const restart = () => {
    boot = createBoot(context);
  };
  const known = { directory, nodes, tasks, jobs, windows, restart };
  return { boot, ...known, tftp: open("tftp"), http: open("http") };
}

export function writeArtefacts(directory: string): void {
  for (const arch of ["amd64", "arm64"]) {
    const netinst = join(directory, "netinst", arch);
    mkdirSync(netinst, { recursive: true });
    writeFileSync(join(netinst, "kernel"), `kernel ${arch}`);
    writeFileSync(join(netinst, "stage1.cpio.zst"), "stage1"); // 6 octets: padding is needed
    writeFileSync(join(netinst, "agent.squashfs"), "agent");
    writeFileSync(
      join(netinst, "netinst.json"),
      JSON.stringify({ arch, stage2Digest: digest, stage2Bytes: 5 }),
    );
  }
  const loaders = join(directory, "loaders");
  mkdirSync(join(loaders, "raspberry-pi", "overlays"), { recursive: true });
  for (const name of loaderNames) {
    writeFileSync(join(loaders, name), name);
  }
  const firmware = [
    ...["bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat"],
    ...["bcm2710-rpi-3-b.dtb", "bcm2711-rpi-4-b.dtb", "overlays/disable-bt.dtbo", "LICENCE"],
  ];
  for (const name of firmware) writeFileSync(join(loaders, "raspberry-pi", name), name);
}

export function client(mac: MacAddress, change: Partial<BootClient> = {}): BootClient {
  return { mac, ipxe: false, architectures: [0], ...change };
}
