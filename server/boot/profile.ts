/**
 * The boot profile: what each firmware is told by DHCP, and which files it then
 * finds by TFTP and HTTP (tables.ts).
 */

import { join } from "node:path";
import {
  type ImageDigest,
  type Ipv4Address,
  ipv4ToNumber,
  type MacAddress,
  milliseconds,
} from "#protocol/brand.ts";
import { type Architecture, architectureOf, type FirmwareName } from "#protocol/firmware.ts";
import type { Config, Subnet } from "../config.ts";
import type { EventBus } from "../events.ts";
import type { Log } from "../log.ts";
import type { Store } from "../store/store.ts";
import type { BootClient } from "./client.ts";
import type { BootFile, BootFiles } from "./file.ts";
import { createFileCache } from "./file-cache.ts";
import { familyOf } from "./firmware/registry.ts";
import { createLoaderChains } from "./loader-chain.ts";
import { type LoaderChain, loaderNames, signedLoaders } from "./loaders.ts";
import { createNetinst, type Netinst, netinstParts } from "./netinst.ts";
import { createPiFiles, listFirmwareFiles } from "./pi-files.ts";
import type { BootReply, BootServer } from "./reply.ts";
import { type Heard, openFrom, type TablesContext } from "./tables.ts";
import { createTrials } from "./trials.ts";

export type { BootFile, BootFiles, BootPeer } from "./file.ts";
export type { BootReply, BootServer } from "./reply.ts";

export interface Boot {
  /**
   * Undefined: not a boot client, it gets an address only. To be asked for each message of a firmware,
   * by the process that opens `files`: it tells the boots of a board apart (trials.ts).
   */
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
    readonly tasks: Pick<Store["tasks"], "unfinishedOf" | "put">;
    readonly jobs: Pick<Store["jobs"], "get">;
  };
  readonly images: { bootFilesOf(digest: ImageDigest): string };
  readonly leases: { macOf(address: Ipv4Address): MacAddress | undefined };
  readonly windows: { tokenFor(mac: MacAddress): string | undefined };
  readonly site: { readonly serverKey: string };
  /** One per subnet, in the order of the configuration. */
  readonly servers: readonly BootServer[];
  readonly events: Pick<EventBus, "publish">;
  readonly log: Log;
}

const architectures: readonly Architecture[] = ["amd64", "arm64"];
/** Anyone can invent MAC addresses; the oldest is forgotten first. */
const maxHeard = 4096;

export function createBoot(context: BootContext): Boot {
  const { config, log } = context;
  const cache = createFileCache();
  const netinst = createNetinst({ config, site: context.site, cache, log });
  const loader = (name: string): BootFile | undefined =>
    loaderNames.includes(name) ? cache.open(join(config.loadersDirectory, name), name) : undefined;
  warmUp(context, netinst, loader);
  const heard = new Map<MacAddress, Heard>();
  const chains = createLoaderChains();
  const piFiles = createPiFiles({ config, netinst, cache, log });
  const trials = createTrials({ store: context.store, bootFilesOf: context.images.bootFilesOf });
  const tables: TablesContext = { boot: context, heard, netinst, piFiles, trials, chains, loader };
  return {
    reply(client, server) {
      if (client.firmware === undefined) return undefined;
      trials.bootBegins(client.mac);
      remember(heard, client, client.firmware);
      if (client.ipxe) chains.called(client.mac, "ipxe");
      const chain = chooseChain(tables, client, server);
      const reply = familyOf(client.firmware)?.reply(client, server, chain);
      const configured = config.replyDelaySeconds[client.firmware];
      if (!reply || configured === undefined) return reply;
      return { ...reply, delay: milliseconds(configured * 1000) };
    },
    files: {
      open: (wireName, peer) => openFrom(tables, plainName(wireName), peer),
    },
  };
}

/** GRUB's TFTP names begin with a slash; shim puts two before GRUB's name when it came by HTTP. */
function plainName(wireName: string): string {
  return wireName.replace(/^\/+/, "").replace(/\/{2,}/g, "/");
}

/** By the subnet's setting; `auto`: the chain this node was seen to start. */
function chooseChain(
  { boot, chains, loader }: TablesContext,
  client: BootClient,
  server: BootServer,
): LoaderChain {
  if (client.firmware?.startsWith("uefi-") !== true) return "ipxe";
  const signed = signedLoaders[architectureOf(client.firmware)];
  const policy = boot.config.subnets.find((subnet) => isOn(subnet, server))?.secureBoot ?? "auto";
  if (policy === "never" || !signed.every(loader)) return "ipxe";
  if (policy === "always") return "signed";
  const { chain, changed } = chains.offer(client.mac);
  if (changed) {
    const why = "its firmware fetched the other boot loader and did not start it: Secure Boot?";
    boot.log.info({ mac: client.mac, chain, why }, "another boot loader is offered");
  }
  return chain;
}

function isOn(subnet: Subnet, { address }: BootServer): boolean {
  const network = (ipv4ToNumber(address) & ipv4ToNumber(subnet.netmask)) >>> 0;
  return network === ipv4ToNumber(subnet.network);
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
