/** DHCP messages for tests: the corpus of real ones, and made ones of firmware we have no capture of. */

import { readdirSync, readFileSync } from "node:fs";
import { type Ipv4Address, ipv4FromNumber, type MacAddress } from "#protocol/brand.ts";
import { type MessageType, messageTypes, option } from "../../server/dhcp/codec/options.ts";
import { type DhcpPacket, decodePacket, type Options } from "../../server/dhcp/codec/packet.ts";
import { readDatagrams } from "./pcap.ts";

const captures = new URL("../captures/", import.meta.url);

export interface Fixture {
  readonly client: string;
  readonly type: string;
  readonly mac: string;
  readonly options: Readonly<Record<string, string>>;
  readonly hex: string;
}

export const fixtures = JSON.parse(
  readFileSync(new URL("dhcp-client-messages.json", captures), "utf8"),
) as readonly Fixture[];

/** A real message by client and type, e.g. `ovmf-x64-pxe`, `DISCOVER`. */
export function fixture(client: string, type: string): DhcpPacket {
  const found = fixtures.find((one) => one.client === client && one.type === type);
  if (!found) throw new RangeError(`no fixture ${client} ${type}`);
  return decodePacket(Uint8Array.fromHex(found.hex));
}

/** Every DHCP message of the corpus: name and UDP payload. */
export function corpus(): readonly (readonly [name: string, payload: Uint8Array])[] {
  const names = readdirSync(captures);
  return [
    ...fixtures.map(
      (one, index) => [`${one.client} ${one.type} ${index}`, Uint8Array.fromHex(one.hex)] as const,
    ),
    ...names
      .filter((name) => name.endsWith(".bin"))
      .map((name) => [name, Uint8Array.from(readFileSync(new URL(name, captures)))] as const),
    ...names
      .filter((name) => name.endsWith(".pcap"))
      .flatMap((name) =>
        readDatagrams(new URL(name, captures))
          .filter(({ destinationPort }) => destinationPort === 67 || destinationPort === 68)
          .map(({ payload }, index) => [`${name} ${index}`, payload] as const),
      ),
  ];
}

export interface Made {
  readonly mac?: string;
  readonly xid?: number;
  readonly flags?: number;
  readonly ciaddr?: Ipv4Address;
  readonly giaddr?: Ipv4Address;
  readonly options?: Iterable<readonly [code: number, value: Uint8Array]>;
}

const none = ipv4FromNumber(0);

/** A client's message with only what `made` names. */
export function message(type: MessageType, made: Made = {}): DhcpPacket {
  const chaddr = new Uint8Array(16);
  chaddr.set(Uint8Array.fromHex((made.mac ?? "52:54:00:00:00:01").replaceAll(":", "")));
  return {
    operation: "request",
    hardwareType: 1,
    hardwareLength: 6,
    hops: 0,
    xid: made.xid ?? 0x01020304,
    secs: 0,
    flags: made.flags ?? 0,
    ciaddr: made.ciaddr ?? none,
    yiaddr: none,
    siaddr: none,
    giaddr: made.giaddr ?? none,
    chaddr,
    sname: "",
    file: "",
    options: new Map([option("messageType", messageTypes[type]), ...(made.options ?? [])]),
  };
}

const piVendor = option("vendorClass", "PXEClient:Arch:00000:UNDI:002001");
const piArchitecture = option("clientArchitecture", [0]);
const machine = (text: string) =>
  option("clientMachine", Uint8Array.fromHex(text.replaceAll(" ", "")));

/** From documentation, not captured: Raspberry Pi 3 with the old ROM. */
export function pi3Discover(mac = "b8:27:eb:34:56:78"): DhcpPacket {
  const id = machine(`00 ${"44".repeat(16)}`);
  return message("discover", {
    mac,
    xid: 0x26f30339,
    options: [piVendor, piArchitecture, id],
  });
}

/** Raspberry Pi 4 or 5; `turned`: the FourCC and the words most significant octet first. */
export function pi4Discover(
  made: { mac?: string; fourCc?: string; serial?: string; xid?: number } = {},
): DhcpPacket {
  const { mac = "dc:a6:32:01:36:c2", fourCc = "52506934", serial = "d4c3b2a1" } = made;
  return message("discover", {
    mac,
    xid: made.xid ?? 0x0a0b0c0d,
    options: [piVendor, piArchitecture, machine(`00 ${fourCc} 1431d000 320136c2 ${serial}`)],
  });
}

export function withOptions(packet: DhcpPacket, options: Options): DhcpPacket {
  return { ...packet, options };
}

/** Colons between the octets of `chaddr`. */
export function macOf(packet: DhcpPacket): MacAddress {
  return packet.chaddr
    .subarray(0, 6)
    .toHex()
    .replace(/..(?!$)/g, "$&:") as MacAddress;
}
