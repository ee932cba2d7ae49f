/**
 * The short way through a descriptor that `dgram` has bound: datagrams leave and
 * arrive by one system call for many, without Node's own work for each. `dgram`
 * stays the one that waits; when it has read one datagram, the others that have
 * arrived are taken here.
 */

import { type Ipv4Address, ipv4FromNumber, ipv4ToNumber } from "#protocol/brand.ts";
import { Inbox, Outbox } from "./batch.ts";
import { loadCLibrary } from "./c-library.ts";
import type { Sender } from "./udp.ts";

export interface Direct {
  /** Leaves with whatever else is sent in this turn; lost when the kernel does not take it. */
  send(bytes: Uint8Array, port: number, address: string): void;
  /** What was sent leaves now. */
  flush(): void;
  /**
   * Gives what has arrived to `listener`, at most {@link perTurn} per turn of the event loop.
   *
   * @returns whether that was all
   */
  drain(listener: (bytes: Uint8Array, from: Sender) => void): boolean;
}

/** Datagrams taken here before others get their turn; `dgram` itself takes 32. */
const perTurn = 64;
const largestDatagram = 1504; // an Ethernet frame holds 1500; memory is laid out in steps of 8

/** `undefined` where koffi has no build for this machine: then `dgram` does it all. */
export async function openDirect(fd: number): Promise<Direct | undefined> {
  const c = await loadCLibrary().catch(() => undefined);
  if (!c) return undefined;
  const inbox = new Inbox(c, largestDatagram);
  const outbox = new Outbox(c, { segmentation: false });
  let isSending = false;
  let isDrained = false;
  const flush = (): void => {
    if (!isSending) return;
    isSending = false;
    outbox.flush();
  };
  const nextTurn = (): void => {
    isDrained = false;
  };
  return {
    send(bytes, port, address) {
      outbox.packet({ fd, address: ipv4ToNumber(address as Ipv4Address), port }, bytes);
      if (isSending) return;
      isSending = true;
      queueMicrotask(flush); // after the replies that one commit has released
    },
    flush,
    drain(listener) {
      if (isDrained) return false;
      isDrained = true;
      setImmediate(nextTurn);
      const count = Math.min(inbox.receive(fd), perTurn);
      for (let index = 0; index < count; index++) {
        const start = inbox.startOf(index);
        const port = inbox.portOf(index);
        if (port === 0) continue; // nobody can be answered there
        listener(inbox.bytes.slice(start, start + inbox.lengthOf(index)), {
          address: ipv4FromNumber(inbox.addressOf(index)),
          port,
        });
      }
      return count < perTurn;
    },
  };
}
