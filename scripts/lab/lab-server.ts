/** The server of a laboratory with its first admin signed in, killed and started again as often as is wanted. */

import { randomBytes } from "node:crypto";
import { type Api, createApi } from "./api.ts";
import { type ServerOptions, startServerProcess } from "./server-process.ts";

/** Made with the set-up code. */
export interface LabAdmin {
  readonly name: string;
  readonly password: string;
}

export interface LabServer {
  readonly api: Api;
  readonly admin: LabAdmin;
  readonly adminSocket: string;
  /** Kills the server as a power cut would, and starts it again on the same state. */
  killAndRestart(): Promise<void>;
  stop(): Promise<void>;
}

export async function startLabServer(options: ServerOptions): Promise<LabServer> {
  let server = await startServerProcess(options);
  const { adminSocket } = server;
  const api = createApi(adminSocket);
  const admin = { name: "admin", password: randomBytes(9).toString("base64url") };
  const session = await api.send<{ token: string }>("POST", "/api/v1/setup", {
    code: server.setupCode,
    ...admin,
  });
  api.token = session.token;
  return {
    ...{ api, admin, adminSocket },
    async killAndRestart() {
      await server.kill();
      server = await startServerProcess(options);
    },
    stop: () => server.stop(),
  };
}
