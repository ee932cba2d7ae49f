/**
 * ProxyDHCP (PXE 2.1 §2.2): another server gives the address, we add what is
 * needed to boot. Decided without a socket, as in handler.ts.
 *
 *   client                      other server, 67     we, 67            we, 4011
 *   DISCOVER (60 PXEClient) ->  OFFER yiaddr         OFFER 0.0.0.0,
 *                                                    60, 43, boot file
 *   REQUEST (54 the other)  ->  ACK yiaddr           silence, noted
 *   REQUEST, from its address, to 4011 ------------------------------> ACK, boot file
 *
 * Some firmware takes the boot file from the OFFER and never asks on 4011, some
 * asks there although the OFFER has it: both get the same. No message of ours
 * carries an address, a mask or a lease time.
 */

import type { Ipv4Address } from "#protocol/brand.ts";
import type { BootReply } from "../boot/profile.ts";
import { contains } from "../lease/leases.ts";
import { type Asked, bootReply, isElsewhere, publishHeard, readMessage } from "./asked.ts";
import { hardwareAddress } from "./client.ts";
import { readMessageType, readOption } from "./codec/options.ts";
import type { DhcpPacket } from "./codec/packet.ts";
import { type Decision, type HandlerContext, mannerOf, silence } from "./decision.ts";
import { limitedBroadcast, unspecified } from "./destination.ts";
import { buildProxyReply } from "./reply.ts";

/** Answers a message on port 67 of a subnet whose addresses another server gives. */
export function answerAsProxy(asked: Asked, context: HandlerContext): Decision {
  const { type, mac, packet } = asked;
  switch (type) {
    case "discover":
      publishHeard(asked.client, context);
      return bootPart("offer", asked, context);
    case "request": {
      noteAddress(asked, context);
      if (isElsewhere(asked, context)) return silence("other-server", mac);
      // sent to us alone, though to the wrong port: some firmware never heard of 4011
      const isBootRequest = asked.chosen !== undefined || packet.ciaddr !== unspecified;
      return isBootRequest ? bootPart("ack", asked, context) : silence("proxied", mac);
    }
    case "inform":
      return isElsewhere(asked, context)
        ? silence("other-server", mac)
        : bootPart("ack", asked, context);
    default:
      return silence("proxied", mac);
  }
}

/**
 * Answers a message on port 4011.
 *
 * @param from - where it came from: the client's address, whatever it says itself
 * @throws PacketError if an option that matters has a wrong length, or it is not on Ethernet.
 */
export function handleBootRequest(
  packet: DhcpPacket,
  from: Ipv4Address,
  context: HandlerContext,
): Decision {
  const type = readMessageType(packet.options);
  if (packet.operation !== "request") return silence("not-a-request");
  if (type !== "request" && type !== "inform") return silence("not-a-request");
  const mac = hardwareAddress(packet);
  const asked = readMessage(packet, type, mac, context);
  if (typeof asked === "string") return silence(asked, mac);
  if (asked.mode !== "proxy") return silence(asked.mode === "off" ? "off" : "proxied", mac);
  if (!contains(asked.subnet, from)) return silence("foreign-subnet", mac);
  const decision = bootPart("ack", asked, context);
  if (decision.kind === "silence") return decision;
  context.sightings?.uses(mac, from);
  return { ...decision, destination: { kind: "unicast", address: from } };
}

function bootPart(type: "offer" | "ack", asked: Asked, context: HandlerContext): Decision {
  const { mac, packet, client, clientClass, identifier } = asked;
  if (!mayBoot(asked, context)) return silence("unknown-client", mac);
  const server = { ...context.server, proxy: true };
  const boot = bootReply(asked, { ...context, server });
  if (boot === undefined) return silence("proxied", mac);
  if (boot === "none") return silence("no-boot-file", mac);
  context.sightings?.answered(mac);
  return {
    kind: "reply",
    type,
    mac,
    packet: buildProxyReply(type, packet, {
      server: identifier,
      client,
      boot: withBootItem(boot, packet),
      ...(clientClass && { clientClass }),
    }),
    destination: destinationOf(packet),
    ...mannerOf(boot),
  };
}

/** It has no address we could send to, and the answer tells it none: all may hear it. */
function destinationOf({ giaddr, ciaddr }: DhcpPacket) {
  if (giaddr !== unspecified) return { kind: "relay", address: giaddr } as const;
  if (ciaddr !== unspecified) return { kind: "unicast", address: ciaddr } as const;
  return { kind: "broadcast", address: limitedBroadcast } as const;
}

/**
 * Mode `proxy` boots whoever asks. Mode `auto` that gave way to another server
 * still boots only those it gave addresses to before: the known, and others where
 * there is a pool.
 */
function mayBoot({ mac, subnet, clientClass }: Asked, { leases }: HandlerContext): boolean {
  if (leases.reservationOf(mac) !== undefined) return true;
  return clientClass?.pool !== false && (subnet.mode === "proxy" || subnet.pool !== undefined);
}

function noteAddress({ mac, packet, subnet }: Asked, { sightings }: HandlerContext): void {
  const address = readOption(packet.options, "requestedAddress") ?? packet.ciaddr;
  if (address !== unspecified && contains(subnet, address)) sightings?.uses(mac, address);
}

const pxeBootItem = 71; // PXE 2.1, table 2-1: type (2), layer (2)

/** A client that chose an entry of a boot menu wants to see it again in the answer (PXE 2.1 §2.4.6). */
function withBootItem(boot: BootReply, request: DhcpPacket): BootReply {
  const item = vendorOption(readOption(request.options, "vendorInformation"), pxeBootItem);
  if (item?.length !== 4) return boot;
  const own = boot.options.find(([code]) => code === vendorInformation)?.[1] ?? endOnly;
  const value = Uint8Array.of(pxeBootItem, item.length, ...item, ...own);
  return { ...boot, options: [...boot.options, [vendorInformation, value]] };
}

const vendorInformation = 43;
const endOnly = Uint8Array.of(255);

/** One of the options inside option 43; undefined when it is not there, or the value is broken. */
function vendorOption(value: Uint8Array | undefined, wanted: number): Uint8Array | undefined {
  for (let offset = 0; value && offset < value.length; ) {
    const code = value[offset];
    const length = value[offset + 1];
    if (code === 255 || length === undefined) return undefined;
    if (code === 0) {
      offset += 1;
      continue;
    }
    const body = value.subarray(offset + 2, offset + 2 + length);
    if (code === wanted && body.length === length) return body;
    offset += 2 + length;
  }
  return undefined;
}
