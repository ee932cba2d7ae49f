/**
 * A power strip: outlets that are switched over a unix socket by the server's
 * `qemu` power driver. One JSON object per line:
 *
 *   {"verb":"on","outlet":"a1"}     -> {"ok":true,"state":"on"}       the order is taken
 *   {"verb":"off","outlet":"a1"}    -> {"ok":true,"state":"off"}      the same: a power cut
 *   {"verb":"query","outlet":"a1"}  -> {"ok":true,"state":"on"}       what the outlet senses
 *   anything wrong                  -> {"ok":false,"reason":"…"}
 */

import { rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { linesOf } from "./lines.ts";

export interface StripOutlet {
  /** What the outlet says about itself. */
  readonly state: "on" | "off";
  switchOn(): void;
  /** Resolves when nothing behind it runs any more. */
  switchOff(): Promise<void>;
}

export interface PowerStrip {
  close(): void;
}

/** @param socket - path of the unix socket, at most 107 octets; one that is left over is replaced. */
export async function startPowerStrip(
  socket: string,
  outlets: ReadonlyMap<string, StripOutlet>,
): Promise<PowerStrip> {
  const answer = async (line: string): Promise<object> => {
    try {
      const { verb, outlet } = JSON.parse(line) as { verb?: unknown; outlet?: unknown };
      const found = outletNamed(outlets, String(outlet));
      switch (verb) {
        case "on":
          found.switchOn();
          return { ok: true, state: verb };
        case "off":
          await found.switchOff();
          return { ok: true, state: verb };
        case "query":
          return { ok: true, state: found.state };
        default:
          throw new RangeError(`unknown verb ${JSON.stringify(verb)}`);
      }
    } catch (error) {
      return { ok: false, reason: error instanceof Error ? error.message : String(error) };
    }
  };
  const connections = new Set<Socket>();
  const server = createServer((connection) => {
    connections.add(connection);
    connection.on("close", () => connections.delete(connection));
    linesOf(connection, (line) => {
      void answer(line).then((reply) => {
        if (connection.writable) connection.write(`${JSON.stringify(reply)}\n`);
      });
    });
  });
  rmSync(socket, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(socket, resolve);
  });
  return {
    close() {
      server.close();
      for (const connection of connections) connection.destroy();
    },
  };
}

/** @throws RangeError when there is none */
export function outletNamed<Outlet>(outlets: ReadonlyMap<string, Outlet>, name: string): Outlet {
  const found = outlets.get(name);
  if (!found) throw new RangeError(`no outlet ${JSON.stringify(name)} on this strip`);
  return found;
}

/** What lives while the power is on: one run at a time, begun anew by each power-on. */
export class PowerSwitch implements StripOutlet {
  readonly #run: (signal: AbortSignal) => Promise<void>;
  #power: AbortController | undefined;
  #running: Promise<void> = Promise.resolve();

  /** @param run - ends when its signal aborts; when it ends by itself, the power is off. Never rejects. */
  constructor(run: (signal: AbortSignal) => Promise<void>) {
    this.#run = run;
  }

  get state(): "on" | "off" {
    return this.#power ? "on" : "off";
  }

  switchOn(): void {
    if (this.#power) return;
    const power = new AbortController();
    this.#power = power;
    const before = this.#running;
    this.#running = before
      .then(() => this.#run(power.signal))
      .finally(() => {
        if (this.#power === power) this.#power = undefined;
      });
  }

  async switchOff(): Promise<void> {
    this.#power?.abort();
    this.#power = undefined;
    await this.#running;
  }
}
