/**
 * Who else answers DHCP on an interface: asks as a PXE client that nobody knows,
 * and hears every answer that is broadcast, also those to others.
 *
 *   us, 68  -- DISCOVER (60 PXEClient, broadcast flag) -->  255.255.255.255, 67
 *   us, 68  <-- OFFER, ACK, NAK --  any server but ourselves
 *
 * The socket is bound to 255.255.255.255: it takes nothing from a DHCP client that
 * this machine runs itself, whose answers come to its own address.
 */

import { randomBytes } from "node:crypto";
import { type Ipv4Address, type MacAddress, parseMacAddress } from "#protocol/brand.ts";
import { PacketError } from "../errors.ts";
import type { Log } from "../log.ts";
import { openDatagramSocket, type Sender } from "../net/udp.ts";
import { messageTypes, option, readMessageType, readOption } from "./codec/options.ts";
import { broadcastFlag, type DhcpPacket, decodePacket, encodePacket } from "./codec/packet.ts";
import { architecture, parseVendorClass } from "./codec/pxe.ts";
import { limitedBroadcast, unspecified } from "./destination.ts";

/** Another server, as one of its answers shows it. */
export interface HeardServer {
  /** `proxy-dhcp`: it gives boot files and no address. */
  readonly kind: "dhcp" | "proxy-dhcp";
  /** Where its answer came from. */
  readonly address: Ipv4Address;
  /** Option 54. */
  readonly serverIdentifier?: Ipv4Address;
  readonly offered?: Ipv4Address;
}

export interface Probe {
  /** What we ask under. Our own server must not answer it. */
  readonly mac: MacAddress;
  /** Sends one DISCOVER. */
  ask(): void;
  /** Makes the kernel find out the hardware address of a neighbour. */
  poke(address: Ipv4Address): void;
  close(): Promise<void>;
}

export interface ProbeContext {
  readonly interfaceName: string;
  /** Ours there: what comes from it is our own. */
  readonly address: Ipv4Address;
  readonly dhcpPort: number;
  readonly log: Log;
  readonly openSocket?: typeof openDatagramSocket;
}

/** @throws ConfigurationError when another program has the client port to itself. */
export async function openProbe(
  { interfaceName, address, dhcpPort, log, openSocket = openDatagramSocket }: ProbeContext,
  onHeard: (server: HeardServer) => void,
): Promise<Probe> {
  const socket = await openSocket(
    {
      interface: interfaceName,
      address: limitedBroadcast,
      port: dhcpPort + 1,
      broadcast: true,
      reuse: true,
    },
    log,
  );
  const mac = inventMac();
  socket.onMessage((bytes, from) => {
    if (from.address === address) return;
    try {
      const heard = readAnswer(bytes, from);
      if (heard) onHeard(heard);
    } catch (error) {
      if (!(error instanceof PacketError)) throw error;
      log.debug({ err: error, interface: interfaceName, from: from.address }, "answer dropped");
    }
  });
  return {
    mac,
    ask: () => socket.send(encodePacket(probeMessage(mac, invent32())), dhcpPort, limitedBroadcast),
    poke: (neighbour) => socket.send(Uint8Array.of(0), discardPort, neighbour),
    close: () => socket.close(),
  };
}

const discardPort = 9; // RFC 863: whoever listens there throws it away

/**
 * `undefined` for what is no server's answer.
 *
 * @throws PacketError if it does not follow RFC 2131.
 */
export function readAnswer(
  bytes: Uint8Array,
  { address }: Pick<Sender, "address">,
): HeardServer | undefined {
  const { operation, options, yiaddr } = decodePacket(bytes);
  const type = readMessageType(options);
  if (operation !== "reply" || (type !== "offer" && type !== "ack" && type !== "nak")) {
    return undefined;
  }
  const identifier = readOption(options, "serverIdentifier");
  const isBootPart = yiaddr === unspecified && isBootClass(readOption(options, "vendorClass"));
  return {
    kind: isBootPart ? "proxy-dhcp" : "dhcp",
    address,
    ...(identifier !== undefined && { serverIdentifier: identifier }),
    ...(yiaddr !== unspecified && { offered: yiaddr }),
  };
}

function isBootClass(text: string | undefined): boolean {
  return text !== undefined && parseVendorClass(text) !== undefined;
}

/** A PC's BIOS ROM, as far as a server can tell: both kinds of servers answer it. */
export function probeMessage(mac: MacAddress, xid: number): DhcpPacket {
  const chaddr = new Uint8Array(16);
  chaddr.set(mac.split(":").map((octet) => Number.parseInt(octet, 16)));
  return {
    operation: "request",
    hardwareType: 1,
    hardwareLength: 6,
    hops: 0,
    xid,
    secs: 0,
    flags: broadcastFlag,
    ciaddr: unspecified,
    yiaddr: unspecified,
    siaddr: unspecified,
    giaddr: unspecified,
    chaddr,
    sname: "",
    file: "",
    options: new Map([
      option("messageType", messageTypes.discover),
      option("maximumMessageSize", 1472),
      option("parameterRequestList", Uint8Array.of(1, 3, 43, 54, 60, 66, 67)),
      option("vendorClass", "PXEClient:Arch:00000:UNDI:002001"),
      option("clientArchitecture", [architecture.bios]),
      option("clientInterface", Uint8Array.of(1, 2, 1)),
    ]),
  };
}

/** Locally administered, unicast: no vendor's. One for the life of the probe, so that it takes one address of a pool. */
function inventMac(): MacAddress {
  const octets = randomBytes(6);
  octets[0] = ((octets[0] ?? 0) & 0xfc) | 0x02;
  return parseMacAddress([...octets].map((one) => one.toString(16).padStart(2, "0")).join(":"));
}

function invent32(): number {
  return randomBytes(4).readUInt32BE();
}

/** The identifier of a server whose answer we did not hear. */
export function namedServer(serverIdentifier: Ipv4Address): HeardServer | undefined {
  if (serverIdentifier === unspecified) return undefined;
  return { kind: "dhcp", address: serverIdentifier, serverIdentifier };
}
