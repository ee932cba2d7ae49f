/**
 * One question to the laboratory's power strip (scripts/lab/power-strip.ts), for
 * simulated hardware that switches its outlets.
 *
 *   strip-client.ts <socket> on|off|query <outlet>     prints on or off
 */

import { createConnection } from "node:net";
import { createInterface } from "node:readline";

export async function askStrip(
  socket: string,
  verb: string,
  outlet: string,
): Promise<"on" | "off"> {
  const connection = createConnection(socket);
  connection.write(`${JSON.stringify({ verb, outlet })}\n`);
  try {
    for await (const line of createInterface({ input: connection })) {
      const answer = JSON.parse(line) as { ok: boolean; state?: "on" | "off"; reason?: string };
      if (answer.ok && answer.state) return answer.state;
      throw new Error(answer.reason ?? "the strip gave no state");
    }
    throw new Error("the strip gave no answer");
  } finally {
    connection.destroy();
  }
}

if (import.meta.main) {
  const [socket = "", verb = "", outlet = ""] = process.argv.slice(2);
  process.stdout.write(`${await askStrip(socket, verb, outlet)}\n`);
}
