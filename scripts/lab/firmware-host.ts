/** One process with the firmware of all boards (firmware-process.ts), and how boards use it. */

import { fork } from "node:child_process";
import type { ModelName } from "./board-models.ts";
import { type Cleanup, endProcess } from "./cleanup.ts";

export interface BootRequest {
  readonly verb: "boot";
  readonly id: number;
  readonly model: ModelName;
  /** Its interface `eth0` is the board's. */
  readonly namespace: string;
  readonly mac: string;
  /** Number of the board in its rack, which its serial is made from. */
  readonly index: number;
}

export type ToFirmware = BootRequest | { readonly verb: "cut"; readonly id: number };

/** What became of a boot by network. */
export type BootOutcome =
  | { readonly outcome: "kernel"; readonly commandLine: string; readonly site: string }
  /** A system of the board's own disk. */
  | { readonly outcome: "root"; readonly partitionUuid: string }
  /** The server sent it on to the next boot entry. */
  | { readonly outcome: "elsewhere" }
  | { readonly outcome: "silence" | "failed"; readonly reason: string };

export type BootResult = BootOutcome & { readonly id: number };

export interface FirmwareHost {
  /** Resolves when the firmware has come to an end; soon after `signal` aborts as `failed`. */
  boot(request: Omit<BootRequest, "verb" | "id">, signal: AbortSignal): Promise<BootOutcome>;
  close(): void;
}

export function startFirmwareHost(cleanup: Cleanup): FirmwareHost {
  const child = fork(new URL("./firmware-process.ts", import.meta.url), {
    serialization: "json",
    // each board that boots may wait in a thread of its own
    env: { ...process.env, UV_THREADPOOL_SIZE: "64" },
  });
  const forget = cleanup.add("firmware of simulated boards", () => endProcess(child.pid));
  const waiting = new Map<number, (result: BootOutcome) => void>();
  let last = 0;
  const send = (message: ToFirmware) => void (child.connected && child.send(message));
  child.on("message", (result: BootResult) => {
    waiting.get(result.id)?.(result);
    waiting.delete(result.id);
  });
  child.once("exit", (status, signal) => {
    for (const answer of waiting.values()) {
      answer({ outcome: "failed", reason: `the firmware process ended with ${status ?? signal}` });
    }
    waiting.clear();
  });
  return {
    async boot(request, signal) {
      if (!child.connected) return { outcome: "failed", reason: "the firmware process has ended" };
      last += 1;
      const id = last;
      const cut = () => send({ verb: "cut", id });
      const { promise, resolve } = Promise.withResolvers<BootOutcome>();
      waiting.set(id, resolve);
      send({ ...request, verb: "boot", id });
      signal.addEventListener("abort", cut, { once: true });
      if (signal.aborted) cut();
      try {
        return await promise;
      } finally {
        signal.removeEventListener("abort", cut);
      }
    },
    close() {
      forget();
      endProcess(child.pid);
    },
  };
}
