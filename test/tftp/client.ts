/** A TFTP client over a real socket that shows everything it hears. */

import { createSocket } from "node:dgram";
import type { AddressInfo } from "node:net";
import {
  decodePacket,
  encodePacket,
  type TftpOptions,
  type TftpPacket,
} from "../../server/tftp/codec.ts";
import { createReader, type Reader } from "./reader.ts";

const remindMs = 500;

export interface Heard {
  readonly packet: TftpPacket;
  readonly port: number;
}

export interface TftpProbe {
  readonly port: number;
  send(packet: TftpPacket | Uint8Array, port: number): void;
  /** The next datagram, in the order they came. */
  next(): Promise<Heard>;
  /** Datagrams that came and were not taken by `next`. */
  heard(): number;
  /** Reads a whole file, lock-step or by windows as the server's OACK says. */
  fetch(
    serverPort: number,
    name: string,
    options?: TftpOptions,
    mode?: string,
  ): Promise<Uint8Array>;
  /** Reads the rest of a transfer whose first answers are in hand. */
  goOn(...inHand: readonly [Heard, ...Heard[]]): Promise<Uint8Array>;
  close(): void;
}

/** @param address - loopback address to speak from, so that a test can be several peers */
export async function openProbe(address = "127.0.0.1"): Promise<TftpProbe> {
  const socket = createSocket("udp4");
  const heard: Heard[] = [];
  /** Where the last datagram came from: told when we stop, so that no server waits for us. */
  let served = 0;
  const waiting: ((one: Heard) => void)[] = [];
  socket.on("message", (bytes, from) => {
    const one = { packet: decodePacket(bytes), port: from.port };
    served = from.port;
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
  const readOn = async (reader: Reader, server: number, inHand: readonly Heard[] = []) => {
    const before = [...inHand];
    let peer = server;
    const remind = () => send(reader.remind(), peer); // as every client does when nothing new comes
    let timer = setInterval(remind, remindMs);
    try {
      while (!reader.file) {
        const one = before.shift() ?? (await next());
        peer = one.port;
        const { progress } = reader;
        for (const answer of reader.receive(one.packet)) send(answer, peer);
        if (reader.progress === progress) continue;
        clearInterval(timer);
        timer = setInterval(remind, remindMs);
      }
      return reader.file;
    } finally {
      clearInterval(timer);
    }
  };
  return {
    port: (socket.address() as AddressInfo).port,
    send,
    next,
    heard: () => heard.length,
    async fetch(serverPort, name, options = [], mode = "octet") {
      const reader = createReader(name, options, mode);
      send(reader.remind(), serverPort);
      return await readOn(reader, serverPort);
    },
    goOn: (...inHand) => readOn(createReader("", []), inHand[0].port, inHand),
    close() {
      const stop = encodePacket({ kind: "error", code: 0, message: "" });
      if (served === 0) socket.close();
      else socket.send(stop, served, "127.0.0.1", () => socket.close());
    },
  };
}
