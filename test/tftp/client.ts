/** A minimal TFTP client that shows everything it hears; no retransmission, for loopback. */

import { createSocket } from "node:dgram";
import type { AddressInfo } from "node:net";
import {
  decodePacket,
  encodePacket,
  type TftpOptions,
  type TftpPacket,
} from "../../server/tftp/codec.ts";

export interface Heard {
  readonly packet: TftpPacket;
  readonly port: number;
}

export interface TftpProbe {
  readonly port: number;
  send(packet: TftpPacket | Uint8Array, port: number): void;
  /** The next datagram, in the order they came. */
  next(): Promise<Heard>;
  /** Reads a whole file, lock-step or by windows as the server's OACK says. */
  fetch(
    serverPort: number,
    name: string,
    options?: TftpOptions,
    mode?: string,
  ): Promise<Uint8Array>;
  close(): void;
}

/** @param address - loopback address to speak from, so that a test can be several peers */
export async function openProbe(address = "127.0.0.1"): Promise<TftpProbe> {
  const socket = createSocket("udp4");
  const heard: Heard[] = [];
  const waiting: ((one: Heard) => void)[] = [];
  socket.on("message", (bytes, from) => {
    const one = { packet: decodePacket(bytes), port: from.port };
    const waiter = waiting.shift();
    if (waiter) waiter(one);
    else heard.push(one);
  });
  await new Promise<void>((resolve) => socket.bind(0, address, resolve));
  const send = (packet: TftpPacket | Uint8Array, port: number) => {
    const bytes = packet instanceof Uint8Array ? packet : encodePacket(packet);
    socket.send(bytes, port, "127.0.0.1");
  };
  const next = () =>
    new Promise<Heard>((resolve) => {
      const first = heard.shift();
      if (first) resolve(first);
      else waiting.push(resolve);
    });
  return {
    port: (socket.address() as AddressInfo).port,
    send,
    next,
    async fetch(serverPort, name, options = [], mode = "octet") {
      const parts: Uint8Array[] = [];
      let blockBytes = 512;
      let windowBlocks = 1;
      send({ kind: "read", name, mode, options }, serverPort);
      for (;;) {
        const { packet, port } = await next();
        if (packet.kind === "option-ack") {
          const granted = new Map(packet.options);
          blockBytes = Number(granted.get("blksize") ?? 512);
          windowBlocks = Number(granted.get("windowsize") ?? 1);
          send({ kind: "ack", block: 0 }, port);
        } else if (packet.kind === "data") {
          parts.push(packet.bytes);
          const last = packet.bytes.length < blockBytes;
          if (last || parts.length % windowBlocks === 0) {
            send({ kind: "ack", block: packet.block }, port);
          }
          if (last) return Buffer.concat(parts);
        } else throw new Error(`${name}: ${JSON.stringify(packet)}`);
      }
    },
    close: () => socket.close(),
  };
}
