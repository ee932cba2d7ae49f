/**
 * Who sent this packet: the selection rules for firmware, iPXE, and everything else.
 *
 * First match wins; the order matters more than any single rule, because iPXE's
 * BIOS build, a PC's BIOS ROM and a Raspberry Pi send the same option 60 and 93:
 *
 *   1  iPXE by its user class (77) or its own options (175)
 *   2  UEFI HTTP boot by option 60
 *   3  Raspberry Pi 4 and 5 by the FourCC in option 97
 *   4  Raspberry Pi 2 and 3 by their one xid, or the ROM's option 97
 *   5  Raspberry Pi with an old EEPROM, by hardware address: a guess, marked so
 *   6  PXE by option 93
 *   7  the REQUEST of a firmware that left option 60 out, by its DISCOVER
 *   8  none of these: a running OS or another device
 */

import { type MacAddress, macAddressFrom } from "#protocol/brand.ts";
import type { FirmwareName } from "#protocol/firmware.ts";
import type { BootClient } from "../boot/client.ts";
import { PacketError } from "../errors.ts";
import { optionCode, readOption } from "./codec/options.ts";
import type { DhcpPacket } from "./codec/packet.ts";
import { architecture, type Machine, parseMachine, parseVendorClass } from "./codec/pxe.ts";

/** Every Raspberry Pi 2 and 3 boots with this transaction id (raspberrypi/firmware#1067). */
export const raspberryPiRomXid = 0x26f30339;
const vendorClassCode = optionCode("vendorClass");
const raspberryPiVendorClass = "PXEClient:Arch:00000:UNDI:002001";

/** User classes of iPXE: the upstream name, and the one our own build sends. */
const ipxeUserClasses: readonly string[] = ["iPXE", "marcoboot"];

/** A hint only: new boards come with new prefixes, and rules 3 and 4 know them without it. */
const raspberryPiPrefixes: Readonly<Record<string, FirmwareName>> = {
  "b8:27:eb": "raspberry-pi-3",
  "dc:a6:32": "raspberry-pi-4",
  "e4:5f:01": "raspberry-pi-4",
  "28:cd:c1": "raspberry-pi-4",
  "d8:3a:dd": "raspberry-pi-4",
  "2c:cf:67": "raspberry-pi-5",
  "88:a2:9e": "raspberry-pi-5",
};

const pxeFirmware: ReadonlyMap<number, FirmwareName> = new Map([
  [architecture.bios, "bios-pxe"],
  [architecture.efiX64, "uefi-pxe-x64"],
  [architecture.efiByteCode, "uefi-pxe-x64"],
  [architecture.efiArm64, "uefi-pxe-arm64"],
  [architecture.efiHttpX64, "uefi-http-x64"],
  [architecture.efiHttpArm64, "uefi-http-arm64"],
  [architecture.rpiBoot, "raspberry-pi-4"],
]);
const ipxeFirmware: ReadonlyMap<number, FirmwareName> = new Map([
  [architecture.bios, "ipxe-bios"],
  [architecture.efiX64, "ipxe-x64"],
  [architecture.efiByteCode, "ipxe-x64"],
  [architecture.efiArm64, "ipxe-arm64"],
  [architecture.efiHttpX64, "ipxe-x64"],
  [architecture.efiHttpArm64, "ipxe-arm64"],
]);

/** What an earlier packet of the same hardware address told. */
export interface Earlier {
  readonly xid: number;
  readonly client: BootClient;
}

/**
 * Classifies a packet.
 *
 * @param prefixes - of the settings, beside the known ones
 * @throws PacketError if `chaddr` is no Ethernet address, or an option that is read has a wrong length.
 */
export function classify(
  packet: DhcpPacket,
  earlier?: Earlier,
  prefixes: Readonly<Record<string, FirmwareName>> = {},
): BootClient {
  const mac = hardwareAddress(packet);
  const vendorText = readOption(packet.options, "vendorClass");
  const vendor = vendorText === undefined ? undefined : parseVendorClass(vendorText);
  const architectures = architecturesOf(packet, vendor?.architecture);
  const machineOption = readOption(packet.options, "clientMachine");
  const machine = machineOption && parseMachine(machineOption, architectures.includes(0));
  const ipxe = isIpxe(packet);
  const said = {
    mac,
    architectures,
    ...(vendorText && { vendorClass: vendorText }),
    ...(machine?.kind === "uuid" && { uuid: machine.uuid }),
  };

  if (ipxe) return { ...said, ipxe, firmware: first(architectures, ipxeFirmware) ?? "ipxe-bios" };
  if (vendor?.kind === "HTTPClient") {
    return { ...said, ipxe, ...firmware(first(architectures, pxeFirmware)) };
  }
  const pi = raspberryPi(packet, machine);
  if (pi) return { ...said, ipxe, ...pi };

  if (vendorText === raspberryPiVendorClass && architectures[0] === architecture.bios) {
    const guess = guessRaspberryPi(mac, earlier, prefixes);
    if (guess) return { ...said, ipxe, firmware: guess, byOui: true };
  }
  if (vendor) return { ...said, ipxe, ...firmware(first(architectures, pxeFirmware)) };
  return isSequelWithoutVendorClass(packet, earlier) ? earlier.client : { ...said, ipxe };
}

/** It asks for a boot file: an address alone is of no use to it. */
export function isBootClient(client: BootClient): boolean {
  return (
    client.firmware !== undefined ||
    client.ipxe ||
    (client.vendorClass !== undefined && parseVendorClass(client.vendorClass) !== undefined)
  );
}

/**
 * A Raspberry Pi asks TFTP for names of its own: an answer without a boot file is
 * whole for it, and for no other firmware (EDK2: "PXE-E16: No valid offer received").
 */
export function findsItsFilesItself(client: BootClient): boolean {
  return client.firmware?.startsWith("raspberry-pi") ?? false;
}

/**
 * All boards with the Raspberry Pi 2/3 mask ROM use one transaction id and take any
 * answer that has it: one that is broadcast gives a board its neighbour's address
 * (raspberrypi/firmware#1067).
 */
export function takesRepliesToOthers(client: BootClient): boolean {
  return client.firmware === "raspberry-pi-3";
}

/** Uses the address of the OFFER at once and never sends a REQUEST (raspberrypi/firmware#991). */
export function isBoundByOffer(client: BootClient): boolean {
  return client.firmware === "raspberry-pi-3";
}

/** @throws PacketError unless hardware type and length are Ethernet's. */
export function hardwareAddress(packet: DhcpPacket): MacAddress {
  if (packet.hardwareType !== 1 || packet.hardwareLength !== 6) {
    throw new PacketError(
      `hardware type ${packet.hardwareType} with ${packet.hardwareLength} octets is not Ethernet`,
      1,
    );
  }
  return macAddressFrom(packet.chaddr);
}

/** Option 93; failing that the number in option 60, which some ROMs send alone. */
function architecturesOf(packet: DhcpPacket, ofVendorClass: number | undefined): readonly number[] {
  const sent = readOption(packet.options, "clientArchitecture");
  if (sent) return sent;
  return ofVendorClass === undefined ? [] : [ofVendorClass];
}

/**
 * An EEPROM of before 2020-03 says no more than a BIOS PC's ROM does. What it told
 * earlier counts, then the prefix of its hardware address.
 */
function guessRaspberryPi(
  mac: MacAddress,
  earlier: Earlier | undefined,
  prefixes: Readonly<Record<string, FirmwareName>>,
): FirmwareName | undefined {
  const remembered = earlier?.client.firmware;
  if (remembered?.startsWith("raspberry-pi")) return remembered;
  const prefix = mac.slice(0, 8);
  return prefixes[prefix] ?? raspberryPiPrefixes[prefix];
}

/** The REQUEST of a Raspberry Pi 4 or 5 has no option 60; its DISCOVER had (rpi-eeprom#82, #87). */
function isSequelWithoutVendorClass(
  packet: DhcpPacket,
  earlier: Earlier | undefined,
): earlier is Earlier {
  return !packet.options.has(vendorClassCode) && earlier?.xid === packet.xid;
}

function isIpxe(packet: DhcpPacket): boolean {
  if (packet.options.has(175)) return true;
  const userClass = readOption(packet.options, "userClass");
  if (!userClass) return false;
  // raw, as iPXE sends it, or behind RFC 3004's length octet
  const texts = [userClass, userClass.subarray(1)].map((bytes) => String.fromCharCode(...bytes));
  return texts.some((text) => ipxeUserClasses.includes(text));
}

function raspberryPi(
  packet: DhcpPacket,
  machine: Machine | undefined,
): Pick<BootClient, "firmware" | "serial"> | undefined {
  if (machine?.kind === "raspberry-pi") {
    const name: FirmwareName = machine.model === "4" ? "raspberry-pi-4" : "raspberry-pi-5";
    return { firmware: name, serial: machine.serial };
  }
  if (machine?.kind === "raspberry-pi-rom" && packet.options.has(93)) {
    const serial = machine.serial && serialOf(machine.serial, packet);
    return { firmware: "raspberry-pi-3", ...(serial && { serial }) };
  }
  return packet.xid === raspberryPiRomXid ? { firmware: "raspberry-pi-3" } : undefined;
}

/**
 * The ROM's serial word in the order it is written on the TFTP path. Its low three
 * octets are the MAC address's low three: that tells which end comes first.
 */
function serialOf(word: string, packet: DhcpPacket): string {
  const low = packet.chaddr.subarray(3, 6).toHex();
  if (word.slice(2) === low) return word;
  const turned = Uint8Array.fromHex(word).reverse().toHex();
  return turned.slice(2) === low ? turned : word;
}

function first(
  architectures: readonly number[],
  known: ReadonlyMap<number, FirmwareName>,
): FirmwareName | undefined {
  const found = architectures.find((type) => known.has(type));
  return found === undefined ? undefined : known.get(found);
}

function firmware(name: FirmwareName | undefined): Pick<BootClient, "firmware"> {
  return name === undefined ? {} : { firmware: name };
}
