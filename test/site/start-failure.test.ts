/**
 * A server that cannot start: whatever is missing, the process ends by itself, says what it was,
 * and leaves no Redis behind. Each row in a network namespace of its own; root is needed.
 */

import { once } from "node:events";
import { mkdirSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import test from "ava";
import { namespace } from "../support/namespaces.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const listen = (port: number) =>
  `require("node:net").createServer().listen(${port}, "0.0.0.0", () => console.log("taken"))`;

/** What is wrong, the settings that make it so, what else is in the way, and what is said. */
const failures: readonly (readonly [
  title: string,
  settings: string,
  hindrance: { readonly port?: number; readonly file?: readonly [name: string, content: string] },
  message: RegExp,
])[] = [
  ["an interface that is not there", "", {}, /no-such-one/],
  [
    "a damaged journal",
    "",
    { file: ["marcoboot.db", "x".repeat(8192)] },
    /journal .*marcoboot\.db cannot be opened/,
  ],
  ["a Redis that is not installed", "", {}, /install the Debian package redis-server/],
  [
    "another program on the port of boot files, and a Redis that never answers",
    "redisUrl: unix:///nowhere/redis.sock",
    { port: 8080 },
    /TCP port 8080 on 127\.0\.0\.1 \(lo\) is taken by another program/,
  ],
  [
    "another program on the port of the page, when all else runs",
    "",
    { port: 8000 },
    /EADDRINUSE.*:8000/,
  ],
];

/** Processes whose working directory is below `directory`: Redis works in its own. */
function leftIn(directory: string): readonly string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/cwd`).startsWith(directory);
    } catch {
      return false; // it has just ended
    }
  });
}

for (const [index, [title, settings, { port, file }, message]] of failures.entries()) {
  test.serial(`${title}: the server says so and ends`, async (t) => {
    const place = namespace(t, `fs${index}`);
    const directory = temporaryDirectory(t);
    const state = join(directory, "state");
    mkdirSync(state, { mode: 0o700 });
    if (file) writeFileSync(join(state, file[0]), file[1]);
    const link = title.startsWith("an interface") ? "no-such-one" : "lo";
    const config = join(directory, "server.yaml");
    writeFileSync(
      config,
      `stateDirectory: ${state}
subnets: [{ cidr: 127.0.0.0/24, interface: ${link}, reserved: [127.0.0.10, 127.0.0.99] }]
${settings}
`,
    );
    if (port !== undefined) {
      const other = place.start(process.execPath, "-e", listen(port));
      await once(other.stdout ?? other, "data");
    }
    const path = title.includes("not installed") ? "/nowhere" : process.env["PATH"];
    const server = place.start(
      ...(["sh", "-c", 'PATH=$0 exec "$@" 2>&1', `${path}`, process.execPath] as const),
      ...["server/cli/main.ts", "serve", "--config", config],
    );
    const [said, [code]] = await Promise.all([
      server.stdout ? text(server.stdout) : "",
      once(server, "exit"),
    ]);
    t.is(code, 1);
    t.regex(said, /^error: /m);
    t.regex(said, message);
    t.deepEqual(leftIn(state), []);
  });
}
