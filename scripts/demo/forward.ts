/** Carries connections to 127.0.0.1:port over to the server's unix socket, which no namespace wall stops. */

import { createConnection, createServer } from "node:net";

export function forwardPort(port: number, socketPath: string): Promise<{ close(): void }> {
  const server = createServer((near) => {
    const far = createConnection(socketPath);
    near.on("error", () => far.destroy());
    far.on("error", () => near.destroy());
    near.pipe(far).pipe(near);
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve({ close: () => void server.close() }));
  });
}
