/**
 * The whole laboratory: network, nodes with power strip, server, first admin.
 * What the demonstration shows and the end-to-end tests check both stand on this.
 */

import { copyFileSync, mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Api } from "./api.ts";
import type { Cleanup } from "./cleanup.ts";
import type { Accelerator } from "./kvm.ts";
import { type LabAdmin, startLabServer } from "./lab-server.ts";
import { createNetwork, type LabNetwork } from "./namespaces.ts";
import { type Guest, type GuestFirmware, variableTemplates } from "./qemu.ts";
import { type QemuRack, startQemuRack } from "./qemu-rack.ts";
import type { ServerOptions, SubnetSettings } from "./server-process.ts";

/** A node as the laboratory knows it: the truth that the server has to find out. */
export interface LabNode {
  /** Outlet, tap and serial log: `a1`. */
  readonly outlet: string;
  readonly stack: string;
  readonly slot: string;
  /** Host name it must end up with. */
  readonly hostname: string;
  readonly guest: Guest;
}

export interface VirtualRack {
  readonly nodes: readonly LabNode[];
  readonly rackName: string;
  readonly network: LabNetwork;
  readonly strip: QemuRack;
  readonly api: Api;
  readonly admin: LabAdmin;
  readonly adminSocket: string;
  /** Kills the server as a power cut would, and starts it again on the same state. */
  killAndRestartServer(): Promise<void>;
  /** Ends nodes and server; the network goes with the clean-up. */
  close(): Promise<void>;
}

export interface VirtualRackOptions {
  /** Of each node; one may come several times. */
  readonly firmwares: readonly GuestFirmware[];
  /** How the UEFI nodes boot from the network; default `pxe`. */
  readonly networkBoot?: Guest["networkBoot"];
  /** Where the writes of the nodes' disks are logged; for a rack of one node. */
  readonly writeLog?: string;
  readonly accelerator: Accelerator;
  /** Disks, logs, sockets, the server's state. Made if missing; keep its path below 60 characters. */
  readonly directory: string;
  readonly netinstDirectory: string;
  readonly loadersDirectory: string;
  readonly adminPort: number;
  /** Settings of the subnet other than the usual ones. */
  readonly subnet?: SubnetSettings;
  /** Other settings of the server's configuration. */
  readonly settings?: NonNullable<ServerOptions["settings"]>;
  readonly logLevel?: string;
  readonly cleanup: Cleanup;
  readonly onLine?: (outlet: string, line: string) => void;
}

const rackName = "demo";
export const diskOctets = 2 * 1024 ** 3; // QEMU's SD card wants a power of two
/** OVMF and AAVMF need some 200 MiB for themselves before anything boots. */
const memoryMiB = {
  bios: 256, // the least a node may have
  "uefi-x64": 512,
  "uefi-x64-secure": 512,
  "uefi-arm64": 512,
  "raspberry-pi-3": 1024,
} as const;
const places = {
  bios: { stack: "a", slot: "1", mac: "52:54:00:77:0a:01" },
  "uefi-x64": { stack: "a", slot: "2", mac: "52:54:00:77:0a:02" },
  "uefi-x64-secure": { stack: "a", slot: "3", mac: "52:54:00:77:0a:03" },
  "uefi-arm64": { stack: "b", slot: "1", mac: "52:54:00:77:0b:01" },
  "raspberry-pi-3": { stack: "b", slot: "2", mac: "b8:27:eb:77:0b:02" },
} as const;

export async function createVirtualRack(options: VirtualRackOptions): Promise<VirtualRack> {
  const { directory, cleanup } = options;
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const network = createNetwork("10.77.0.1/24", cleanup);
  const nodes = options.firmwares.map((firmware, index, all) => {
    const before = all.slice(0, index).filter((one) => one === firmware).length;
    return makeNode(firmware, before, options);
  });
  const strip = await startQemuRack({
    guests: nodes.map((node) => node.guest),
    network,
    accelerator: options.accelerator,
    directory,
    cleanup,
    ...(options.onLine && { onLine: options.onLine }),
  });
  const server = await startLabServer({ ...options, network });
  const { api, admin, adminSocket } = server;
  return {
    nodes,
    rackName,
    network,
    strip,
    api,
    admin,
    adminSocket,
    killAndRestartServer: server.killAndRestart,
    async close() {
      await Promise.all([strip.close(), server.stop()]);
    },
  };
}

/** @param before - nodes of this firmware that the rack has already */
function makeNode(
  firmware: GuestFirmware,
  before: number,
  { directory, networkBoot, writeLog }: VirtualRackOptions,
): LabNode {
  const { stack, slot, mac } = placeOf(firmware, before);
  const outlet = `${stack}${slot}`;
  if (writeLog !== undefined) writeFileSync(writeLog, "");
  const disk = join(directory, `${outlet}.img`);
  writeFileSync(disk, "");
  truncateSync(disk, diskOctets);
  const template = variableTemplates[firmware];
  const variables = template && join(directory, `${outlet}.vars.fd`);
  if (template && variables) copyFileSync(template, variables);
  const guest: Guest = {
    name: outlet,
    firmware,
    mac,
    memoryMiB: memoryMiB[firmware],
    disk,
    ...(networkBoot && { networkBoot }),
    ...(writeLog !== undefined && { writeLog }),
    ...(variables !== undefined && { variables }),
  };
  return { outlet, stack, slot, hostname: `${rackName}-${stack}-${slot}`, guest };
}

interface Place {
  readonly stack: string;
  readonly slot: string;
  readonly mac: string;
}

/** The first of a firmware in slot 2 with a MAC address that ends in 02, the next in slot 12 with 12. */
function placeOf(firmware: GuestFirmware, before: number): Place {
  const { stack, slot, mac } = places[firmware];
  return {
    stack,
    slot: before === 0 ? slot : `${before}${slot}`,
    mac: `${mac.slice(0, -2)}${before}${mac.slice(-1)}`,
  };
}

/** The rack file of these nodes, in the form the server takes (JSON is YAML). */
export function rackFileOf(nodes: readonly LabNode[], powerSocket: string): string {
  const stacks = [...new Set(nodes.map((node) => node.stack))];
  return JSON.stringify({
    name: rackName,
    stacks: stacks.map((stack, x) => ({
      name: stack,
      x,
      slots: nodes
        .filter((node) => node.stack === stack)
        .map(({ slot, outlet }) => ({
          name: slot,
          outlet: { driver: "qemu", settings: { socket: powerSocket, outlet } },
        })),
    })),
  });
}
