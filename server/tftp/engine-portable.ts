/** The wire over Node's own sockets: a call and a copy for every datagram, and nothing Linux alone has. */

import { type Ipv4Address, ipv4FromNumber, ipv4ToNumber, milliseconds } from "#protocol/brand.ts";
import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import { type DatagramSocket, openDatagramSocket } from "../net/udp.ts";
import { encodeData } from "./codec.ts";
import type { Engine, EngineContext } from "./engine.ts";
import { Transfers } from "./transfers.ts";
import type { Blocks, Channel, Via, Wire } from "./wire.ts";

/** The time between two looks at the timers when nothing is known to be due. */
const longestWait = milliseconds(1000);

export interface PortableContext extends EngineContext {
  readonly requests: DatagramSocket;
  readonly interfaceName: string;
  readonly address: Ipv4Address;
  readonly clock: Clock;
  readonly log: Log;
}

export async function startPortableEngine(context: PortableContext): Promise<Engine> {
  const { interfaceName, address, log, clock, requests } = context;
  const open = () => openDatagramSocket({ interface: interfaceName, address, port: 0 }, log);
  const sockets: Readonly<Record<Via, DatagramSocket>> = {
    requests,
    transfers: await open(),
    spare: await open(),
  };
  const wire = new PortableWire(sockets);
  const stopped = new AbortController();
  let wake = new AbortController();
  const transfers = new Transfers({
    wire,
    limits: context.limits,
    ask: (question) => {
      const at = clock.monotonic();
      transfers.answer(context.answer(question), at);
    },
    ended: context.ended,
  });
  const heard = (via: Via) => (bytes: Uint8Array, from: { address: Ipv4Address; port: number }) => {
    const channel = { address: ipv4ToNumber(from.address), port: from.port, via };
    const before = transfers.nextDue;
    transfers.receive(bytes, 0, bytes.length, channel, clock.monotonic());
    if (transfers.nextDue < before) wake.abort();
  };
  for (const via of ["requests", "transfers", "spare"] as const) {
    sockets[via].onMessage(heard(via));
  }
  const watch = async () => {
    while (!stopped.signal.aborted) {
      wake = new AbortController();
      const left = Math.max(0, Math.ceil(transfers.nextDue - clock.monotonic()));
      const signal = AbortSignal.any([wake.signal, stopped.signal]);
      await clock.sleep(milliseconds(Math.min(left, longestWait)), signal);
      if (!stopped.signal.aborted) transfers.expire(clock.monotonic());
    }
  };
  const watching = watch();
  return {
    kind: "portable",
    counts: () => ({ ...transfers.counts, ...wire.counts, transfers: transfers.size }),
    async close(limit) {
      const end = clock.monotonic() + limit;
      await requests.close();
      transfers.beginClosing(clock.monotonic());
      while (transfers.size > 0 && clock.monotonic() < end) {
        await clock.sleep(milliseconds(20));
        transfers.endSilent(clock.monotonic());
      }
      transfers.endAll(clock.monotonic());
      stopped.abort();
      await watching;
      await Promise.all([sockets.transfers.close(), sockets.spare.close()]);
    },
  };
}

class PortableWire implements Wire {
  readonly counts = { calls: 0, datagrams: 0, refused: 0 };
  readonly #sockets: Readonly<Record<Via, DatagramSocket>>;

  constructor(sockets: Readonly<Record<Via, DatagramSocket>>) {
    this.#sockets = sockets;
  }

  blocks(to: Channel, { content, blockBytes, first, count }: Blocks): void {
    for (let block = first; block < first + count; block++) {
      const start = (block - 1) * blockBytes;
      const bytes = content.bytes.subarray(start, start + blockBytes);
      this.packet(to, encodeData(block & 0xffff, bytes));
    }
  }

  packet(to: Channel, bytes: Uint8Array): void {
    this.counts.calls += 1;
    this.counts.datagrams += 1;
    this.#sockets[to.via].send(bytes, to.port, ipv4FromNumber(to.address));
  }
}
