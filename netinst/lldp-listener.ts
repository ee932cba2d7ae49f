/**
 * Hears which port of which switch this machine hangs on, from the agent's start to its end, and
 * tells the server over TLS whenever that is news.
 */

import { mostSwitchPorts, type SwitchPort } from "#protocol/switch-port.ts";
import type { Connection } from "./connection.ts";
import type { Console } from "./console.ts";
import { ProblemError, reasonOf } from "./errors.ts";
import { type Advertisement, decodeLldp } from "./lldp.ts";
import { decodeCdp } from "./lldp-cdp.ts";
import { type FrameKind, type FrameReader, openFrames } from "./lldp-socket.ts";
import { sleep } from "./wait.ts";

/** Frames are read this often; a switch sends one each 30 s. */
const readPeriodMs = 2000;
/** In one reading: who sends more has to wait, not the agent. */
const framesAtOnce = 64;

interface Dialect {
  readonly kind: FrameKind;
  readonly decode: (unit: Uint8Array) => Advertisement | undefined;
}

const dialects: readonly Dialect[] = [
  {
    // IEEE 802.1AB-2016 §7.1: nearest bridge, nearest non-TPMR bridge, nearest customer bridge
    kind: {
      protocol: 0x88cc,
      groups: ["01:80:c2:00:00:0e", "01:80:c2:00:00:03", "01:80:c2:00:00:00"],
    },
    decode: decodeLldp,
  },
  {
    kind: { protocol: 0x0004, groups: ["01:00:0c:cc:cc:cc"] }, // ETH_P_802_2: a length, no EtherType
    decode: decodeCdp,
  },
];

export interface SwitchListener {
  /** Ports that count now, of those heard since it was made. */
  heard(): readonly SwitchPort[];
  close(): void;
}

/** Where the kernel does not let us listen, nothing is heard and the reason is said. */
export async function listenToSwitches(
  interfaceName: string,
  console: Pick<Console, "info">,
): Promise<SwitchListener> {
  const open: { readonly reader: FrameReader; readonly decode: Dialect["decode"] }[] = [];
  try {
    for (const { kind, decode } of dialects) {
      open.push({ reader: await openFrames(interfaceName, kind), decode });
    }
  } catch (error) {
    console.info(`what switches say is not heard: ${reasonOf(error)}`);
  }
  const known = createPortList();
  return {
    heard() {
      for (const { reader, decode } of open) {
        for (let count = 0; count < framesAtOnce; count++) {
          const frame = reader.next();
          if (!frame) break;
          const said = decode(frame);
          if (said) known.add(said, performance.now());
        }
      }
      return known.list(performance.now());
    },
    close() {
      for (const { reader } of open) reader.close();
    },
  };
}

/**
 * Ports until their time is over. Whoever comes when there are too many is left out: a list that
 * changed with every frame would be news every time. Exported for its test.
 */
export function createPortList() {
  const ports = new Map<string, { readonly port: SwitchPort; readonly until: number }>();
  return {
    add({ port, seconds }: Advertisement, now: number): void {
      const name = `${port.protocol} ${port.chassis} ${port.port}`;
      if (seconds === 0) ports.delete(name);
      else if (ports.has(name) || ports.size < mostSwitchPorts) {
        ports.set(name, { port, until: now + seconds * 1000 });
      }
    },
    list(now: number): readonly SwitchPort[] {
      for (const [name, { until }] of ports) if (until <= now) ports.delete(name);
      return [...ports.values()].map(({ port }) => port);
    },
  };
}

/** Tells what is heard when it is not what was told last, until `signal` aborts. Never rejects. */
export async function tellSwitchPorts(
  listener: Pick<SwitchListener, "heard">,
  {
    connection,
    console,
    periodMs = readPeriodMs,
  }: {
    readonly connection: Connection;
    readonly console: Pick<Console, "warn">;
    readonly periodMs?: number;
  },
  signal: AbortSignal,
): Promise<void> {
  let told = "";
  for (; !signal.aborted; await sleep(periodMs, signal)) {
    const heard = listener.heard();
    const text = JSON.stringify(heard.toSorted(inOrder));
    if (heard.length === 0 || text === told) continue;
    try {
      await connection.post("/agent/v1/switch-ports", { heard }, signal);
      told = text;
    } catch (error) {
      if (!(error instanceof ProblemError) || error.retryable) continue; // said again
      console.warn(`the server does not take what switches say: ${reasonOf(error)}`);
      return;
    }
  }
}

function inOrder(one: SwitchPort, other: SwitchPort): number {
  return JSON.stringify(one) < JSON.stringify(other) ? -1 : 1;
}
