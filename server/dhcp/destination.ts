/**
 * Where a reply goes (RFC 2131 §4.1), in this order:
 *
 *   giaddr set            to the relay, server port
 *   NAK                   broadcast: the client's address is what is wrong
 *   ciaddr set            unicast, the client answers ARP for it
 *   broadcast flag set    broadcast
 *   else                  a neighbour entry, then unicast to yiaddr
 */

import type { Ipv4Address, MacAddress } from "#protocol/brand.ts";
import { broadcastFlag, type DhcpPacket } from "./codec/packet.ts";

export const unspecified = "0.0.0.0" as Ipv4Address;
export const limitedBroadcast = "255.255.255.255" as Ipv4Address;

export type Destination =
  | { readonly kind: "relay" | "unicast" | "broadcast"; readonly address: Ipv4Address }
  /** The client has no address yet: the kernel must be told its MAC address. */
  | {
      readonly kind: "neighbour";
      readonly address: Ipv4Address;
      readonly mac: MacAddress;
      /** What to do where no neighbour entry can be written. */
      readonly fallback: "broadcast" | "silence";
    };

/**
 * @param client - `neverBroadcast`: a Raspberry Pi 2 or 3; all of them take any reply with their
 *   common xid, so that one's broadcast is another's wrong address
 */
export function chooseDestination(
  request: Pick<DhcpPacket, "giaddr" | "ciaddr" | "flags">,
  reply: { readonly yiaddr: Ipv4Address; readonly isNak: boolean },
  client: { readonly mac: MacAddress; readonly neverBroadcast: boolean },
): Destination {
  if (request.giaddr !== unspecified) return { kind: "relay", address: request.giaddr };
  if (reply.isNak) return { kind: "broadcast", address: limitedBroadcast };
  if (request.ciaddr !== unspecified) return { kind: "unicast", address: request.ciaddr };
  const wantsBroadcast = (request.flags & broadcastFlag) !== 0;
  if (wantsBroadcast && !client.neverBroadcast) {
    return { kind: "broadcast", address: limitedBroadcast };
  }
  return {
    kind: "neighbour",
    address: reply.yiaddr,
    mac: client.mac,
    fallback: client.neverBroadcast ? "silence" : "broadcast",
  };
}
