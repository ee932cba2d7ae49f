/**
 * Sockets of discovery, each on one interface: by IPv4 (with the interface named, so that no route
 * is needed) and by IPv6 with link-local addresses only.
 *
 * Bound to a group a socket hears that group and nothing else: on Linux one that is bound to no
 * address hears whatever group any program of this machine has joined.
 */

import { createSocket, type Socket as NodeSocket } from "node:dgram";
import { networkInterfaces } from "node:os";
import { groupOnIpv6 } from "#protocol/discovery.ts";

/** One interface and address family. */
export interface Link {
  readonly interface: string;
  readonly family: 4 | 6;
  /** Own address, without scope. */
  readonly address: string;
  /** Whether an address, without scope, is on this link. */
  reaches(address: string): boolean;
}

export interface Socket {
  /** Fire and forget. */
  send(bytes: Uint8Array, port: number, address: string): void;
  /** `address` is without scope. */
  onMessage(
    listener: (
      bytes: Uint8Array,
      from: { readonly address: string; readonly port: number },
    ) => void,
  ): void;
  close(): Promise<void>;
  readonly port: number;
}

export interface SocketOptions {
  readonly port: number;
  /** To hear: a mesh, or an IPv6 group; absent: the link's own address. */
  readonly group?: string;
  /** Routers that what is sent to a group may pass, and one; default 1: it never leaves the segment. */
  readonly hops?: number;
}

export type OpenSocket = (link: Link, options: SocketOptions) => Promise<Socket>;

/**
 * One IPv4 address and the link-local IPv6 address of an interface, as far as it has them.
 *
 * @param own - the IPv4 address to take; default: the first
 */
export function linksOf(interfaceName: string, own?: string): readonly Link[] {
  const addresses = networkInterfaces()[interfaceName] ?? [];
  const ipv4 = addresses.find(
    ({ family, address }) => family === "IPv4" && (own === undefined || address === own),
  );
  const ipv6 = addresses.find(({ address }) => isLinkLocal(address));
  return [
    ...(ipv4 ? [ipv4Link(interfaceName, ipv4.address, ipv4.netmask)] : []),
    ...(ipv6 ? [ipv6Link(interfaceName, ipv6.address)] : []),
  ];
}

export function ipv4Link(interfaceName: string, address: string, netmask: string): Link {
  const mask = numberOf(netmask);
  return {
    interface: interfaceName,
    family: 4,
    address,
    reaches: (other) => ((numberOf(other) ^ numberOf(address)) & mask) === 0,
  };
}

export function ipv6Link(interfaceName: string, address: string): Link {
  return { interface: interfaceName, family: 6, address, reaches: isLinkLocal };
}

/** fe80::/10, which no router forwards. */
function isLinkLocal(address: string): boolean {
  return /^fe[89ab]/i.test(address);
}

function numberOf(address: string): number {
  return address.split(".").reduce((sum, octet) => sum * 256 + Number(octet), 0) | 0;
}

/** A mesh's group in the link's family, as the system wants it written. */
export function groupOn(link: Link, group: string): string {
  return scoped(link, familyGroup(link, group));
}

/** @throws the system's error when the address is not ours any more or the port is taken. */
export const openSocket: OpenSocket = async (link, { port, group, hops = 1 }) => {
  const socket =
    link.family === 4
      ? createSocket({ type: "udp4", reuseAddr: port !== 0 })
      : createSocket({ type: "udp6", reuseAddr: port !== 0, ipv6Only: true });
  const address = group === undefined ? scoped(link, link.address) : groupOn(link, group);
  try {
    await bind(socket, address, port);
    const own = link.family === 4 ? link.address : `::%${link.interface}`;
    if (group !== undefined) socket.addMembership(familyGroup(link, group), own);
    socket.setMulticastInterface(own);
    socket.setMulticastTTL(hops);
    socket.setMulticastLoopback(true); // askers on this machine hear it too
  } catch (error) {
    await new Promise<void>((resolve) => socket.close(() => resolve()));
    throw error;
  }
  return wrap(socket, link);
};

/** A link-local address is there a second or two before the kernel has made sure that it is the only one. */
export function isTooEarly({ family }: Link, error: unknown): boolean {
  return family === 6 && (error as NodeJS.ErrnoException).code === "EADDRNOTAVAIL";
}

function scoped({ family, interface: name }: Link, address: string): string {
  return family === 6 && !address.includes("%") ? `${address}%${name}` : address;
}

function familyGroup({ family }: Link, group: string): string {
  return family === 4 || group.includes(":") ? group : groupOnIpv6(group);
}

function bind(socket: NodeSocket, address: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.bind({ address, port, exclusive: true }, () => {
      socket.off("error", reject);
      resolve();
    });
  });
}

function wrap(socket: NodeSocket, link: Link): Socket {
  let isOpen = true;
  // A datagram that cannot leave is one that was lost; what asks, asks again.
  socket.on("error", () => undefined);
  return {
    port: socket.address().port,
    send(bytes, port, address) {
      if (isOpen) socket.send(bytes, port, scoped(link, address), () => undefined);
    },
    onMessage(listener) {
      socket.on("message", (bytes, { address, port }) => {
        if (port !== 0) listener(bytes, { address: address.replace(/%.*$/, ""), port });
      });
    },
    close() {
      if (!isOpen) return Promise.resolve();
      isOpen = false;
      return new Promise((resolve) => socket.close(() => resolve()));
    },
  };
}
