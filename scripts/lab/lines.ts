/** Lines of a socket. `readline` would raise the socket's errors a second time, where nobody listens. */

import type { Socket } from "node:net";

export function linesOf(connection: Socket, onLine: (line: string) => void): void {
  let partial = "";
  connection.on("error", () => connection.destroy());
  connection.setEncoding("utf8").on("data", (text) => {
    const lines = (partial + String(text)).split("\n");
    partial = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  });
}
