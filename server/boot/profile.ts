/**
 * The boot profile: what each firmware is told by DHCP, and which files it then
 * finds by TFTP and HTTP.
 *
 *   undionly.kpxe ipxe-x64.efi ipxe-arm64.efi         TFTP: what starts iPXE
 *   boot/loaders/<the same>                           HTTP
 *   boot/node/<mac>/boot.ipxe                         HTTP: script, or "your own disk"
 *   boot/netinst/<arch>/{kernel,initrd,agent.squashfs} HTTP
 *   [<serial>/|<mac>/]<name>                          TFTP: the tree of a Raspberry Pi
 *
 * A name that is not in these tables does not exist. The enrolment token appears
 * only in files for the node itself, asked for from that node's own address.
 */

import { join } from "node:path";
import { type Ipv4Address, ipv4ToNumber, type MacAddress, milliseconds } from "#protocol/brand.ts";
import { type Architecture, architectureOf, type FirmwareName } from "#protocol/firmware.ts";
import type { Node } from "#protocol/node.ts";
import type { Config } from "../config.ts";
import type { EventBus } from "../events.ts";
import type { Log } from "../log.ts";
import type { Store } from "../store/store.ts";
import type { BootClient } from "./client.ts";
import type { BootFile, BootFiles, BootPeer } from "./file.ts";
import { createFileCache, textFile } from "./file-cache.ts";
import { familyOf } from "./firmware/registry.ts";
import { type KernelWord, netinstKernelLine } from "./kernel-line.ts";
import { createNetinst, type Netinst, netinstParts } from "./netinst.ts";
import { createPiFiles, listFirmwareFiles } from "./pi-files.ts";
import type { BootReply, BootServer } from "./reply.ts";
import { localDiskScript, netinstScript, scriptOwner } from "./script.ts";
import { decideBootTarget } from "./target.ts";

export type { BootFile, BootFiles, BootPeer } from "./file.ts";
export type { BootReply, BootServer } from "./reply.ts";

export interface Boot {
  /** Undefined: not a boot client, it gets an address only. */
  reply(client: BootClient, server: BootServer): BootReply | undefined;
  readonly files: BootFiles;
}

export interface BootContext {
  readonly config: Pick<
    Config,
    | "netinstDirectory"
    | "loadersDirectory"
    | "discovery"
    | "kernelArguments"
    | "subnets"
    | "replyDelaySeconds"
  >;
  readonly store: {
    readonly nodes: Pick<Store["nodes"], "byMac">;
    readonly tasks: Pick<Store["tasks"], "unfinishedOf">;
  };
  readonly leases: { macOf(address: Ipv4Address): MacAddress | undefined };
  readonly windows: { tokenFor(mac: MacAddress): string | undefined };
  readonly site: { readonly serverKey: string };
  /** One per subnet, in the order of the configuration. */
  readonly servers: readonly BootServer[];
  readonly events: Pick<EventBus, "publish">;
  readonly log: Log;
}

/** What DHCP heard of a MAC address since the server started; the journal has the rest. */
interface Heard {
  readonly firmware: FirmwareName;
  readonly serial?: string;
}

const loaderNames = ["ipxe-x64.efi", "ipxe-arm64.efi", "undionly.kpxe"] as const;
const architectures: readonly Architecture[] = ["amd64", "arm64"];
/** Anyone can invent MAC addresses; the oldest is forgotten first. */
const maxHeard = 4096;

export function createBoot(context: BootContext): Boot {
  const { config, log } = context;
  const cache = createFileCache();
  const netinst = createNetinst({ config, site: context.site, cache, log });
  const loader = (name: string): BootFile | undefined =>
    loaderNames.some((known) => known === name)
      ? cache.open(join(config.loadersDirectory, name), name)
      : undefined;
  warmUp(context, netinst, loader);
  const heard = new Map<MacAddress, Heard>();
  const tables = {
    tftp: piTable(context, heard, createPiFiles({ config, netinst, cache, log })),
    http: httpTable(context, heard, netinst, loader),
  };
  return {
    reply(client, server) {
      if (client.firmware === undefined) return undefined;
      remember(heard, client, client.firmware);
      const reply = familyOf(client.firmware)?.reply(client, server);
      const configured = config.replyDelaySeconds[client.firmware];
      if (!reply || configured === undefined) return reply;
      return { ...reply, delay: milliseconds(configured * 1000) };
    },
    files: {
      open(wireName, peer) {
        const name = wireName.replace(/^\/+/, "");
        if (peer.protocol === "http") return tables.http(name, peer);
        return loader(name) ?? tables.tftp(name, peer);
      },
    },
  };
}

type Table = (name: string, peer: BootPeer) => BootFile | undefined;

function httpTable(
  context: BootContext,
  heard: ReadonlyMap<MacAddress, Heard>,
  netinst: Netinst,
  loader: (name: string) => BootFile | undefined,
): Table {
  return (name, peer) => {
    const owner = scriptOwner(name);
    if (owner) return textFile("boot.ipxe", scriptFor(context, heard.get(owner), owner, peer));
    const [root, kind, ...rest] = name.split("/");
    if (root !== "boot") return undefined;
    if (kind === "loaders") return rest.length === 1 ? loader(String(rest[0])) : undefined;
    const architecture = architectures.find((one) => one === rest[0]);
    const part = netinstParts.find((one) => one === rest[1]);
    if (kind !== "netinst" || !architecture || !part || rest.length !== 2) return undefined;
    return netinst.open(architecture, part);
  };
}

function scriptFor(
  context: BootContext,
  heard: Heard | undefined,
  mac: MacAddress,
  peer: BootPeer,
): string {
  const node = context.store.nodes.byMac(mac);
  if (targetOf(context, node) === "local-disk") return localDiskScript(mac);
  const firmware = heard?.firmware ?? node?.firmware ?? defaultFirmware(node);
  const { httpUrl: url } = serverFor(context, peer.address);
  return netinstScript({
    mac,
    url,
    architecture: architectureOf(firmware),
    words: kernelLine(context, { mac, firmware, peer }),
  });
}

function piTable(
  context: BootContext,
  heard: ReadonlyMap<MacAddress, Heard>,
  files: ReturnType<typeof createPiFiles>,
): Table {
  return (name, peer) => {
    const mac = context.leases.macOf(peer.address);
    if (!mac) return undefined;
    const node = context.store.nodes.byMac(mac);
    const now = heard.get(mac);
    const firmware = now?.firmware ?? node?.firmware;
    if (!firmware?.startsWith("raspberry-pi")) return undefined;
    if (targetOf(context, node) === "local-disk") return undefined;
    const serial = now?.serial ?? node?.serial?.toLowerCase().slice(-8);
    return files.open(name, {
      mac,
      firmware,
      ...(serial !== undefined && { serial }),
      kernelLine: () => kernelLine(context, { mac, firmware, peer }),
    });
  };
}

function targetOf(context: BootContext, node: Node | undefined) {
  return decideBootTarget(node, node ? context.store.tasks.unfinishedOf(node.id) : []);
}

function kernelLine(
  context: BootContext,
  asked: { readonly mac: MacAddress; readonly firmware: FirmwareName; readonly peer: BootPeer },
): readonly KernelWord[] {
  const { mac, firmware, peer } = asked;
  const own = context.leases.macOf(peer.address) === mac;
  const token = own ? context.windows.tokenFor(mac) : undefined;
  if (!own) context.log.warn({ mac, address: peer.address }, "boot script asked for by another");
  return netinstKernelLine({
    url: serverFor(context, peer.address).httpUrl,
    mac,
    firmware,
    extra: context.config.kernelArguments,
    ...(token !== undefined && { token }),
  });
}

/** The server's address on the peer's own subnet, else the first. */
function serverFor(context: BootContext, peer: Ipv4Address): BootServer {
  const subnet = context.config.subnets.find((one) => {
    const mask = ipv4ToNumber(one.netmask);
    return (ipv4ToNumber(peer) & mask) >>> 0 === ipv4ToNumber(one.network);
  });
  const own = context.servers.find(
    ({ address }) =>
      subnet !== undefined &&
      (ipv4ToNumber(address) & ipv4ToNumber(subnet.netmask)) >>> 0 === ipv4ToNumber(subnet.network),
  );
  const server = own ?? context.servers[0];
  if (!server) throw new RangeError("no subnet is served");
  return server;
}

/** Nothing heard since the start, nothing stored: only the agent's own word is left. */
function defaultFirmware(node: Node | undefined): FirmwareName {
  return node?.architecture === "arm64" ? "ipxe-arm64" : "ipxe-x64";
}

function remember(heard: Map<MacAddress, Heard>, client: BootClient, firmware: FirmwareName): void {
  heard.delete(client.mac); // to the end of the insertion order
  heard.set(client.mac, {
    firmware,
    ...(client.serial !== undefined && { serial: client.serial.toLowerCase().slice(-8) }),
  });
  for (const oldest of heard.keys()) {
    if (heard.size <= maxHeard) break;
    heard.delete(oldest);
  }
}

/** Reads what every boot needs before the first datagram is heard, and says what is missing. */
function warmUp(
  context: BootContext,
  netinst: Netinst,
  loader: (name: string) => BootFile | undefined,
): void {
  const { config, log } = context;
  const missing: string[] = loaderNames.filter((name) => !loader(name));
  if (!listFirmwareFiles(config.loadersDirectory).includes("bootcode.bin")) {
    missing.push("raspberry-pi/bootcode.bin");
  }
  if (missing.length > 0) {
    log.warn({ directory: config.loadersDirectory, missing }, "boot loaders are missing");
  }
  const built = architectures.filter(
    (one) => netinstParts.filter((part) => netinst.open(one, part)).length === netinstParts.length,
  );
  if (built.length === 0) log.warn({ directory: config.netinstDirectory }, "no netinst is built");
  else log.info({ architectures: built }, "netinst found");
}
