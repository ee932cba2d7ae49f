/**
 * The way out of one interface: a reply leaves when what it promises is on stable
 * storage, and goes where destination.ts says. Nothing here decides; whatever goes
 * wrong is logged, as the client asks again.
 */

import { type Ipv4Address, type MacAddress, unreachable } from "#protocol/brand.ts";
import type { Clock } from "../clock.ts";
import type { Leases } from "../lease/leases.ts";
import type { Log } from "../log.ts";
import { type FrameSender, openFrameSender } from "../net/frame-sender.ts";
import type { Neighbours } from "../net/neighbours.ts";
import { encodeNoRouter } from "../net/router-advertisement.ts";
import type { DatagramSocket } from "../net/udp.ts";
import { encodePacket } from "./codec/packet.ts";
import type { Decision } from "./decision.ts";
import { limitedBroadcast, unspecified } from "./destination.ts";

export type Reply = Extract<Decision, { kind: "reply" }>;

export interface DeliveryContext {
  readonly interfaceName: string;
  /** This server's own address there. */
  readonly address: Ipv4Address;
  /** Its hardware address there; absent: nobody is told that there is no IPv6 router. */
  readonly mac?: MacAddress | undefined;
  readonly dhcpPort: number;
  readonly socket: DatagramSocket;
  readonly leases: Pick<Leases, "committed" | "isCommitted" | "reservationOf">;
  readonly neighbours: Neighbours;
  readonly clock: Clock;
  readonly log: Log;
  /** Counts what could not be promised: `not-durable`. */
  readonly count: (interfaceName: string, outcome: string) => void;
}

export interface Delivery {
  send(reply: Reply): void;
  close(): Promise<void>;
}

export async function openDelivery(
  context: DeliveryContext,
  openFrames: (interfaceName: string) => Promise<FrameSender | undefined> = openFrameSender,
): Promise<Delivery> {
  const { interfaceName, leases, clock, log } = context;
  const frames = await openFrames(interfaceName);
  if (!frames) {
    log.warn(
      { interface: interfaceName },
      "no packet socket (CAP_NET_RAW): clients without an address are answered by neighbour entries or broadcast",
    );
  }
  const sendAll = (reply: Reply): void => {
    transmit(reply, frames, context);
    if (!context.mac || !reply.awaitsIpv6Router || reply.destination.kind === "relay") return;
    // a lost one costs the client its wait, no more
    frames?.sendIpv6(encodeNoRouter(context.mac, reply.mac), reply.mac);
  };
  const sendNow = (reply: Reply): void => {
    if (reply.delay) void clock.sleep(reply.delay).then(() => sendAll(reply));
    else sendAll(reply);
  };
  const withhold = (error: unknown, reply: Reply): void => {
    context.count(interfaceName, "not-durable");
    log.error({ err: error, interface: interfaceName, mac: reply.mac }, "DHCP reply withheld");
  };
  return {
    send(reply) {
      if (reply.type === "nak" || leases.isCommitted(reply.mac)) {
        sendNow(reply); // a NAK promises nothing
        return;
      }
      leases.committed(reply.mac).then(
        () => sendNow(reply),
        (error: unknown) => withhold(error, reply),
      );
    },
    close: async () => frames?.close(),
  };
}

function transmit(reply: Reply, frames: FrameSender | undefined, context: DeliveryContext): void {
  const { packet, destination } = reply;
  const { socket, dhcpPort } = context;
  const payload = encodePacket(packet);
  const clientPort = dhcpPort + 1;
  switch (destination.kind) {
    case "relay":
      socket.send(payload, dhcpPort, destination.address);
      break;
    case "unicast":
      socket.send(payload, clientPort, destination.address);
      break;
    case "broadcast":
      if (packet.yiaddr !== unspecified) enter(reply, packet.yiaddr, context);
      socket.send(payload, clientPort, destination.address);
      break;
    case "neighbour": {
      const { address, mac, fallback } = destination;
      const isEntered = enter(reply, address, context);
      const datagram = {
        from: context.address,
        fromPort: dhcpPort,
        to: address,
        toPort: clientPort,
        payload,
      };
      if (frames?.send(datagram, mac)) return;
      if (isEntered || enter(reply, address, context, "always")) {
        socket.send(payload, clientPort, address);
      } else if (fallback === "broadcast") {
        socket.send(payload, clientPort, limitedBroadcast);
      } else {
        context.log.error(
          { interface: context.interfaceName, mac },
          "no neighbour entry, so this Raspberry Pi cannot be answered",
        );
      }
      break;
    }
    default:
      unreachable(destination);
  }
}

/**
 * A permanent entry for who needs one: a reserved node, and a Raspberry Pi 2 or 3, which does
 * not answer ARP while it loads its files. For others, what an earlier entry said of the
 * address is made right: it would swallow their boot files.
 *
 * @returns whether the kernel has an entry of ours
 */
function enter(
  { mac, destination }: Reply,
  address: Ipv4Address,
  { neighbours, leases, interfaceName, log }: DeliveryContext,
  who: "who needs one" | "always" = "who needs one",
): boolean {
  const neighbour = { address, mac, interfaceName };
  const isPi = destination.kind === "neighbour" && destination.fallback === "silence";
  const isNeeded = who === "always" || isPi || leases.reservationOf(mac)?.address === address;
  try {
    if (isNeeded) neighbours.set(neighbour);
    else neighbours.correct(neighbour);
    return isNeeded;
  } catch (error) {
    log.debug({ err: error, mac }, "no neighbour entry");
    return false;
  }
}
