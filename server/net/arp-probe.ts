/**
 * Does anybody use this address? Without a raw socket: one octet by UDP makes the
 * kernel ask by ARP, and its neighbour table shows who answered.
 *
 *   us   -- 1 octet to port 9 (discard) -->   kernel: who has 10.77.0.150?
 *   us   <-- /proc/self/net/arp, every 25 ms, for 400 ms at most
 *
 * For addresses that nobody should have: what the table said of one before is
 * removed first, or the last holder would seem to be there still.
 */

import { type Ipv4Address, type MacAddress, milliseconds } from "#protocol/brand.ts";
import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import { readNeighbours } from "./neighbour-table.ts";
import type { Neighbours } from "./neighbours.ts";
import { type DatagramSocket, openDatagramSocket } from "./udp.ts";

/** A present neighbour was seen within 10 ms, and within 400 ms on a busy machine. */
const patience = milliseconds(400);
const interval = milliseconds(25);
const discardPort = 9; // RFC 863

export interface ArpProbe {
  /** Who answers for the address; undefined: nobody did. Never rejects. */
  ask(address: Ipv4Address): Promise<MacAddress | undefined>;
  close(): Promise<void>;
}

export interface ArpProbeContext {
  readonly interfaceName: string;
  readonly neighbours: Pick<Neighbours, "remove">;
  readonly clock: Clock;
  readonly log: Log;
  /** The complete entries of the kernel's table. */
  readonly read?: () => ReadonlyMap<Ipv4Address, MacAddress>;
  readonly openSocket?: typeof openDatagramSocket;
}

export async function openArpProbe({
  interfaceName,
  neighbours,
  clock,
  log,
  read = readNeighbours,
  openSocket = openDatagramSocket,
}: ArpProbeContext): Promise<ArpProbe> {
  const socket: DatagramSocket = await openSocket({ interface: interfaceName, port: 0 }, log);
  const waiting = new Map<Ipv4Address, Question>();
  const closing = new AbortController();

  const look = async (): Promise<void> => {
    while (waiting.size > 0 && !closing.signal.aborted) {
      await clock.sleep(interval, closing.signal);
      const table = read();
      for (const [address, question] of waiting) {
        const mac = table.get(address);
        if (mac === undefined && clock.monotonic() < question.until) continue;
        waiting.delete(address);
        question.answer(mac);
      }
    }
    for (const { answer } of waiting.values()) answer(undefined);
    waiting.clear();
  };
  return {
    ask(address) {
      const asked = waiting.get(address);
      if (asked) return asked.answered;
      try {
        neighbours.remove(address, interfaceName);
      } catch (error) {
        // Without the right to remove an entry, the table cannot be believed.
        log.debug({ err: error, address }, "address not probed");
        return Promise.resolve(undefined);
      }
      const { promise: answered, resolve: answer } = Promise.withResolvers<
        MacAddress | undefined
      >();
      waiting.set(address, { answered, answer, until: clock.monotonic() + patience });
      socket.send(Uint8Array.of(0), discardPort, address);
      if (waiting.size === 1) void look();
      return answered;
    },
    close() {
      closing.abort();
      return socket.close();
    },
  };
}

interface Question {
  readonly answered: Promise<MacAddress | undefined>;
  answer(mac: MacAddress | undefined): void;
  readonly until: number;
}
