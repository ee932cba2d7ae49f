/**
 * The files nodes find, by name. A name that is not in these tables does not exist.
 *
 *   TFTP   [/]<loader>                                        what a firmware loads first
 *          grub/grub.cfg, boot/netinst/<arch>/{kernel,initrd}  GRUB of the signed chain
 *          [<serial>/|<mac>/]<name>                           the tree of a Raspberry Pi
 *   HTTP   boot/loaders/<loader>
 *          boot/node/<mac>/boot.ipxe                          script, or "your own disk"
 *          boot/netinst/<arch>/{kernel,initrd,agent.squashfs}
 *          grub/grub.cfg                                      GRUB that came by HTTP
 *
 * The enrolment token appears only in files for the node itself, asked for from
 * that node's own address.
 */

import { type Ipv4Address, ipv4ToNumber, type MacAddress } from "#protocol/brand.ts";
import { type Architecture, architectureOf, type FirmwareName } from "#protocol/firmware.ts";
import type { Node } from "#protocol/node.ts";
import type { BootFile, BootPeer } from "./file.ts";
import { textFile } from "./file-cache.ts";
import {
  grubConfigName,
  grubConfigOwner,
  localDiskGrubConfig,
  netinstGrubConfig,
  redirectGrubConfig,
} from "./grub-script.ts";
import { type KernelWord, netinstKernelLine } from "./kernel-line.ts";
import type { LoaderChains } from "./loader-chain.ts";
import { chainBegunBy, isSigned } from "./loaders.ts";
import { type Netinst, netinstParts } from "./netinst.ts";
import type { PiFiles } from "./pi-files.ts";
import type { BootContext } from "./profile.ts";
import type { BootServer } from "./reply.ts";
import { localDiskScript, netinstScript, scriptOwner } from "./script.ts";
import { decideBootTarget, triedBy } from "./target.ts";
import type { Trials } from "./trials.ts";

/** What DHCP heard of a MAC address since the server started; the journal has the rest. */
export interface Heard {
  readonly firmware: FirmwareName;
  readonly serial?: string;
}

export interface TablesContext {
  readonly boot: BootContext;
  readonly heard: ReadonlyMap<MacAddress, Heard>;
  readonly netinst: Netinst;
  readonly piFiles: PiFiles;
  readonly trials: Trials;
  readonly chains: LoaderChains;
  readonly loader: (name: string) => BootFile | undefined;
}

const architectures: readonly Architecture[] = ["amd64", "arm64"];

/** @param name - from the wire, without a leading slash */
export function openFrom(
  context: TablesContext,
  name: string,
  peer: BootPeer,
): BootFile | undefined {
  const grub = grubConfig(context, name, peer);
  if (grub !== undefined) return textFile("grub.cfg", grub);
  return peer.protocol === "http"
    ? openByHttp(context, name, peer)
    : openByTftp(context, name, peer);
}

function openByHttp(context: TablesContext, name: string, peer: BootPeer): BootFile | undefined {
  const owner = scriptOwner(name);
  if (owner) return textFile("boot.ipxe", ipxeScript(context, owner, peer));
  const [root, kind, last, ...rest] = name.split("/");
  if (root !== "boot" || last === undefined) return undefined;
  if (kind === "loaders" && rest.length === 0) return openLoader(context, last, peer);
  return openNetinst(context.netinst, name);
}

function openByTftp(context: TablesContext, name: string, peer: BootPeer): BootFile | undefined {
  const mac = context.boot.leases.macOf(peer.address);
  if (!mac) return openLoader(context, name, peer);
  return (
    openLoader(context, name, peer) ??
    openNetinst(context.netinst, name) ??
    openPiFile(context, name, peer, mac)
  );
}

/**
 * iPXE finds out by its script when the node's own disk is to boot. shim and GRUB
 * cannot hand that back to the firmware: they end as if all were well, and the
 * firmware opens its set-up screen. So they are not found, which sends the
 * firmware on to its next boot entry.
 */
function openLoader(context: TablesContext, name: string, peer: BootPeer): BootFile | undefined {
  const mac = context.boot.leases.macOf(peer.address);
  if (mac && isSigned(name) && targetOf(context.boot, mac) !== "netinst") return undefined;
  const file = context.loader(name);
  const chain = chainBegunBy(name);
  if (file && mac && chain) context.chains.fetched(mac, chain);
  return file;
}

function openNetinst(netinst: Netinst, name: string): BootFile | undefined {
  const [root, kind, architectureName, partName, ...rest] = name.split("/");
  const architecture = architectures.find((one) => one === architectureName);
  const part = netinstParts.find((one) => one === partName);
  if (root !== "boot" || kind !== "netinst" || rest.length > 0) return undefined;
  return architecture && part ? netinst.open(architecture, part) : undefined;
}

function openPiFile(
  context: TablesContext,
  name: string,
  peer: BootPeer,
  mac: MacAddress,
): BootFile | undefined {
  const node = context.boot.store.nodes.byMac(mac);
  const now = context.heard.get(mac);
  const firmware = now?.firmware ?? node?.firmware;
  if (!firmware?.startsWith("raspberry-pi")) return undefined;
  const unfinished = node ? context.boot.store.tasks.unfinishedOf(node.id) : [];
  if (decideBootTarget(node, unfinished) === "local-disk") return undefined;
  const tried = node && triedBy(node, unfinished);
  const trial = tried && context.trials.of(node, tried);
  if (tried && !trial) return undefined;
  const serial = now?.serial ?? node?.serial?.toLowerCase().slice(-8);
  return context.piFiles.open(name, {
    mac,
    firmware,
    ...(serial !== undefined && { serial }),
    kernelLine: () => kernelLine(context.boot, { mac, firmware, peer }),
    ...(trial && { trial }),
  });
}

/** Text of the configuration this name stands for; undefined: the name of something else. */
function grubConfig(context: TablesContext, name: string, peer: BootPeer): string | undefined {
  const byAddress = name === grubConfigName ? context.boot.leases.macOf(peer.address) : undefined;
  const mac = grubConfigOwner(name) ?? byAddress;
  if (!mac) return name === grubConfigName ? redirectGrubConfig() : undefined;
  context.chains.called(mac, "signed");
  if (targetOf(context.boot, mac) !== "netinst") return localDiskGrubConfig(mac);
  const firmware = firmwareOf(context, mac);
  return netinstGrubConfig({
    mac,
    architecture: architectureOf(firmware),
    words: kernelLine(context.boot, { mac, firmware, peer }),
  });
}

function ipxeScript(context: TablesContext, mac: MacAddress, peer: BootPeer): string {
  if (targetOf(context.boot, mac) !== "netinst") return localDiskScript(mac);
  const firmware = firmwareOf(context, mac);
  return netinstScript({
    mac,
    url: serverFor(context.boot, peer.address).httpUrl,
    architecture: architectureOf(firmware),
    words: kernelLine(context.boot, { mac, firmware, peer }),
  });
}

function targetOf({ store }: BootContext, mac: MacAddress) {
  const node = store.nodes.byMac(mac);
  return decideBootTarget(node, node ? store.tasks.unfinishedOf(node.id) : []);
}

function firmwareOf({ boot, heard }: TablesContext, mac: MacAddress): FirmwareName {
  const node = boot.store.nodes.byMac(mac);
  return heard.get(mac)?.firmware ?? node?.firmware ?? defaultFirmware(node);
}

/** Nothing heard since the start, nothing stored: only the agent's own word is left. */
function defaultFirmware(node: Node | undefined): FirmwareName {
  return node?.architecture === "arm64" ? "ipxe-arm64" : "ipxe-x64";
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
