/** The queue's Redis: ours, or the one that is configured. */

import { accessSync, constants, existsSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { milliseconds } from "#protocol/brand.ts";
import type { Finding } from "#protocol/timeline.ts";
import { type Check, type CheckContext, fine, problem } from "../check.ts";

const patience = milliseconds(3000);
const searched = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

export const redisCheck: Check = {
  name: "redis",
  async examine(context) {
    const { redisUrl, stateDirectory } = context.config;
    if (redisUrl !== undefined) {
      const shown = redisUrl.replace(/\/\/[^@/]*@/, "//"); // without a password
      return [
        tell(
          shown,
          await ping(redisUrl, context),
          "start it, or remove `redisUrl`: marcoboot then starts one of its own",
        ),
      ];
    }
    const socket = join(stateDirectory, "redis", "redis.sock");
    if (context.server.kind === "none" || !existsSync(socket)) return [ownRedis()];
    const answer = await ping(`unix://${socket}`, context);
    return [tell(socket, answer, "the server restarts it by itself; see its log for the reason")];
  },
};

function tell(where: string, answer: string, remedy: string): Finding {
  return /^\+PONG|^-NOAUTH|^-WRONGPASS/.test(answer)
    ? fine("redis", `Redis answers at ${where}`)
    : problem("redis-silent", `Redis at ${where} does not answer: ${answer}`, remedy);
}

function ownRedis(): Finding {
  const program = searched.map((directory) => join(directory, "redis-server")).find(isProgram);
  return program === undefined
    ? problem(
        "redis-missing",
        "redis-server is not installed, and no `redisUrl` is configured",
        "apt-get install redis-server (it need not be enabled: marcoboot starts its own)",
      )
    : fine("redis", `${program} is there to be started`);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false; // not here: the next directory
  }
}

/** The first line of the answer, or why there was none. Never rejects. */
async function ping(url: string, { clock, signal }: CheckContext): Promise<string> {
  const { protocol, hostname, port, pathname } = new URL(url);
  const target =
    protocol === "unix:"
      ? { path: pathname }
      : { host: hostname, port: Number(port === "" ? "6379" : port) };
  const ended = new AbortController();
  const socket = connect(target, () => socket.write("PING\r\n"));
  const answer = new Promise<string>((resolve) => {
    socket.once("data", (bytes) => resolve(bytes.toString("latin1").split("\r\n", 1)[0] ?? ""));
    socket.once("error", (error) => resolve(error.message));
    socket.once("close", () => resolve("the connection was closed"));
  });
  const late = clock
    .sleep(patience, AbortSignal.any([ended.signal, signal]))
    .then(() => "no answer in 3 s");
  try {
    return await Promise.race([answer, late]);
  } finally {
    ended.abort();
    socket.destroy();
  }
}
