/** What tells one computer from another: the word of its firmware, serial numbers, UUIDs. Pure. */

import type { Ipv4Address, MacAddress } from "#protocol/brand.ts";
import { architectureOf, type FirmwareName } from "#protocol/firmware.ts";
import type { Hardware, Node } from "#protocol/node.ts";
import type { BootClient } from "../boot/client.ts";
import type { NodeChange } from "./nodes.ts";

/** Sent by an old Raspberry Pi ROM, QEMU and careless vendors: no identity. */
const constantUuid = /^(?:0{8}-0{4}-0{4}-0{4}-0{12}|f{8}-f{4}-f{4}-f{4}-f{12})$/i;

/** Made from the MAC address, for a node that no rack file names: `node-dca632010203`. */
export function nameOfMac(mac: MacAddress): string {
  return `node-${mac.replaceAll(":", "")}`;
}

/**
 * @param before - the firmware recorded so far. iPXE follows a firmware within
 *   one boot; it is recorded only where nothing was heard before it.
 */
export function factsOf(
  client: BootClient,
  before: FirmwareName | undefined,
  address: Ipv4Address | undefined,
): NodeChange {
  // A running OS of a Raspberry Pi looks like its ROM when only the vendor part of the MAC tells.
  const follows = client.ipxe || client.byOui === true;
  const firmware = follows && before !== undefined ? before : client.firmware;
  const uuid =
    client.uuid !== undefined && !constantUuid.test(client.uuid) ? client.uuid : undefined;
  return {
    ...(firmware && { firmware, architecture: architectureOf(firmware) }),
    ...(client.serial !== undefined && { serial: client.serial }),
    ...(uuid !== undefined && { uuid }),
    ...(address !== undefined && { address }),
    // A ROM speaks: whatever the outlet's record says, there is power.
    ...(client.firmware !== undefined && { power: "on" }),
  };
}

/** Heard, and nothing else: no slot, no enrolment, no word of an admin. */
export function isStranger(node: Node): boolean {
  const { state, slot, certificate, quarantined, name, mac, tags, protection } = node;
  const unclaimed = state === "discovered" && !slot && certificate === undefined && !quarantined;
  if (tags || protection) return false;
  return unclaimed && name === nameOfMac(mac);
}

/**
 * Two computers with one MAC address, or another board in a known one's place: its disks
 * may hold what nobody agreed to wipe. Undefined: it says what it said before, or nothing.
 */
export function whyAnother(node: Node, { uuid, serial }: BootClient): string | undefined {
  const because = (what: string, before: string, now: string) =>
    `its firmware says ${what} ${now}, recorded is ${before}: two computers with one MAC address, or an exchanged board; approve it if it was exchanged on purpose`;
  if (
    uuid !== undefined &&
    node.uuid !== undefined &&
    ![uuid, node.uuid].some((one) => constantUuid.test(one)) &&
    !isSameUuid(uuid, node.uuid)
  ) {
    return because("UUID", node.uuid, uuid);
  }
  if (serial !== undefined && node.serial !== undefined && !isSameSerial(serial, node.serial)) {
    return because("serial number", node.serial, serial);
  }
  return undefined;
}

/** Firmwares disagree on the order of octets in the first three fields (RFC 4578 §2.3, SMBIOS 2.6). */
export function isSameUuid(a: string, b: string): boolean {
  const turned = (text: string) =>
    text.replace(/^(..)(..)(..)(..)-(..)(..)-(..)(..)-/, "$4$3$2$1-$6$5-$8$7-");
  const [one, other] = [a.toLowerCase(), b.toLowerCase()];
  return one === other || turned(one) === other;
}

/** A Raspberry Pi's ROM sends the low four octets of its serial, some EEPROMs in the other order. */
export function isSameSerial(sent: string, recorded: string): boolean {
  const low = recorded.toLowerCase().slice(-8);
  if (!/^[0-9a-f]{8}$/.test(low) || !/^[0-9a-f]{8}$/i.test(sent.slice(-8))) return true;
  const octets = sent.toLowerCase().slice(-8);
  return octets === low || octets.replace(/(..)(..)(..)(..)/, "$4$3$2$1") === low;
}

/** Another computer behind a known MAC address: its disks may hold what nobody agreed to wipe. */
export function isSwapped(before: Hardware | undefined, after: Hardware): boolean {
  return (
    before?.serial !== undefined && after.serial !== undefined && before.serial !== after.serial
  );
}
