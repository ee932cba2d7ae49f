/** A segment in memory without any delay: sockets that hear what is sent to their group or address, and what was sent. */

import { ipv4Link, type Link, type OpenSocket } from "../../server/discovery/shared/sockets.ts";

type Listener = (
  bytes: Uint8Array,
  from: { readonly address: string; readonly port: number },
) => void;

interface Member {
  /** Address or group it is bound to. */
  readonly bound: string;
  readonly port: number;
  readonly listeners: Listener[];
}

export interface Datagram {
  readonly from: string;
  readonly to: string;
  readonly bytes: Uint8Array;
}

export interface Segment {
  readonly sent: Datagram[];
  /** Datagrams it eats, by how many were sent before. */
  lose: (datagram: Datagram, count: number) => boolean;
  readonly open: OpenSocket;
  /** Puts a datagram on the wire as if `from` had sent it. */
  deliver(
    bytes: Uint8Array,
    from: { readonly address: string; readonly port: number },
    to: string,
    port: number,
  ): void;
}

/** Given to the first socket that asks for none. */
export const firstPort = 40_000;

export function linkAt(address: string): Link {
  return ipv4Link("lan", address, "255.255.255.0");
}

export function createSegment(): Segment {
  const members = new Set<Member>();
  let nextPort = firstPort;
  const segment: Segment = {
    sent: [],
    lose: () => false,
    deliver(bytes, from, to, port) {
      for (const member of members) {
        if (member.bound !== to || member.port !== port) continue;
        for (const listener of member.listeners) listener(bytes, from);
      }
    },
    async open(link, options) {
      const port = options.port === 0 ? nextPort++ : options.port;
      const member: Member = { bound: options.group ?? link.address, port, listeners: [] };
      members.add(member);
      return {
        port,
        send(bytes, toPort, to) {
          const datagram = { from: link.address, to, bytes };
          segment.sent.push(datagram);
          if (segment.lose(datagram, segment.sent.length - 1)) return;
          segment.deliver(bytes, { address: link.address, port }, to, toPort);
        },
        onMessage: (listener) => void member.listeners.push(listener),
        close: async () => void members.delete(member),
      };
    },
  };
  return segment;
}
