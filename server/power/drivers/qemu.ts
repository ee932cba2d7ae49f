/**
 * Outlets of a virtual rack: QEMU processes, started and killed by the
 * laboratory (scripts/lab/qemu-rack.ts), which we ask over its unix socket.
 *
 *   -> {"verb":"on" | "off" | "query","outlet":"a1"}
 *   <- {"ok":true,"state":"on" | "off"}  |  {"ok":false,"reason":"…"}
 *
 * One JSON object per line, one question per connection.
 */

import { createConnection } from "node:net";
import { Type } from "typebox";
import { milliseconds } from "#protocol/brand.ts";
import type { PowerState } from "#protocol/node.ts";
import { PowerRefusedError, PowerUnreachableError } from "../../errors.ts";
import { definePowerDriver, type SettingsOf } from "../driver.ts";

const members = {
  socket: Type.String({ description: "absolute path of the rack's unix socket", minLength: 1 }),
  outlet: Type.String({ description: "name of the outlet there", minLength: 1, examples: ["a1"] }),
};
export type QemuSettings = SettingsOf<typeof members>;

export const qemuDriver = definePowerDriver({
  kind: "qemu",
  about: "virtual rack of the laboratory",
  settings: members,
  canQuery: true,
  minimumOffTime: milliseconds(500), // no capacitors; long enough that a log shows two events

  check({ socket }) {
    if (!socket.startsWith("/")) throw new RangeError("socket is not an absolute path");
  },

  async set(settings, state, signal) {
    const reached = await ask(settings, state, signal);
    if (reached !== state) {
      throw new PowerRefusedError(`outlet ${settings.outlet} is ${reached}, not ${state}`);
    }
  },

  query: (settings, signal) => ask(settings, "query", signal),
});

async function ask(
  { socket, outlet }: QemuSettings,
  verb: "on" | "off" | "query",
  signal: AbortSignal,
): Promise<PowerState> {
  let line: string;
  try {
    line = await exchange(socket, JSON.stringify({ verb, outlet }), signal);
  } catch (cause) {
    throw new PowerUnreachableError(`power socket ${socket} did not answer`, { cause });
  }
  return readAnswer(line, outlet);
}

function readAnswer(line: string, outlet: string): PowerState {
  let answer: unknown;
  try {
    answer = JSON.parse(line);
  } catch (cause) {
    throw new PowerUnreachableError(`outlet ${outlet}: answer is not JSON`, { cause });
  }
  const { ok, state, reason } = (answer ?? {}) as Readonly<Record<string, unknown>>;
  if (ok !== true) throw new PowerRefusedError(`outlet ${outlet}: ${String(reason)}`);
  if (state === "on" || state === "off") return state;
  throw new PowerUnreachableError(`outlet ${outlet}: unknown state ${JSON.stringify(state)}`);
}

function exchange(path: string, question: string, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const connection = createConnection(path);
    const abort = () => connection.destroy(new Error("no answer in time"));
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    let received = "";
    connection.on("error", reject);
    connection.on("close", () => {
      signal.removeEventListener("abort", abort);
      reject(new Error("closed without an answer"));
    });
    connection.on("data", (bytes) => {
      received += bytes.toString("utf8");
      const [line, rest] = received.split("\n", 2);
      if (line === undefined || rest === undefined) return;
      resolve(line);
      connection.end();
    });
    connection.write(`${question}\n`);
  });
}
