/**
 * Permanent neighbour (ARP) entries, written with `ip -batch` (iproute2).
 *
 * They let a reply go by unicast to a client that has no address yet, and keep
 * Raspberry Pi 2 and 3 reachable, which do not answer ARP during TFTP.
 */

import { spawn } from "node:child_process";
import type { Ipv4Address, MacAddress } from "#protocol/brand.ts";
import { UnavailableError } from "../errors.ts";

export interface Neighbour {
  readonly address: Ipv4Address;
  readonly mac: MacAddress;
  readonly interfaceName: string;
}

export interface Neighbours {
  /** Calls made at the same time share one process. @throws UnavailableError without CAP_NET_ADMIN. */
  set(address: Ipv4Address, mac: MacAddress, interfaceName: string): Promise<void>;
  /** @throws UnavailableError when one entry or more could not be written; the others are. */
  setAll(neighbours: readonly Neighbour[]): Promise<void>;
}

/** Runs `ip` with the lines on its standard input; its standard error when it failed. */
export type RunBatch = (lines: string) => Promise<string | undefined>;

export function createNeighbours(run: RunBatch = runIpBatch): Neighbours {
  let collected: Neighbour[] = [];
  let next: Promise<void> | undefined;
  let running: Promise<unknown> = Promise.resolve();

  const write = async (neighbours: readonly Neighbour[]) => {
    if (neighbours.length === 0) return;
    const failure = await run(neighbours.map(lineOf).join(""));
    if (failure !== undefined) {
      throw new UnavailableError(`neighbour entries could not be written: ${failure}`);
    }
  };
  return {
    setAll: write,
    set(address, mac, interfaceName) {
      collected.push({ address, mac, interfaceName });
      next ??= running.then(() => {
        const batch = collected;
        collected = [];
        next = undefined;
        const written = write(batch);
        running = written.catch(() => undefined); // each caller of set() gets the error itself
        return written;
      });
      return next;
    },
  };
}

function lineOf({ address, mac, interfaceName }: Neighbour): string {
  return `neigh replace ${address} lladdr ${mac} dev ${interfaceName} nud permanent\n`;
}

function runIpBatch(lines: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn("ip", ["-force", "-batch", "-"], { stdio: ["pipe", "ignore", "pipe"] });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      if (stderr.length < 4096) stderr += text;
    });
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code) => resolve(code === 0 ? undefined : stderr.trim() || `exit ${code}`));
    child.stdin.on("error", () => undefined); // told by "error" or the exit code
    child.stdin.end(lines);
  });
}
