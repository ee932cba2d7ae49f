/** The agent replaces its own program: what it fetches, when it begins anew, and when it keeps it. */

import { createHash, randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { runAgent } from "../../netinst/agent.ts";
import type { Downloader } from "../../netinst/connection.ts";
import { AgentError } from "../../netinst/errors.ts";
import { fetchProgram, ownProgram } from "../../netinst/self-update.ts";
import { install } from "../../netinst/steps/install.ts";
import { macA, startServer } from "../agent/agent-peer.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { until } from "../support/until.ts";
import { recordConsole, sha256 } from "./support.ts";

const before = Buffer.from("the program before");
const after = randomBytes(3 << 20);

function makeHome(t: ExecutionContext): string {
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, "agent.squashfs"), before);
  return directory;
}

type Server = Awaited<ReturnType<typeof startServer>>;

/** What `marcoboot netinst build` leaves. */
function build({ netinstDirectory }: Server, program: Buffer, digest = sha256(program)): void {
  const directory = join(netinstDirectory, "amd64");
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, "agent.squashfs"), program);
  const sizes = { kernelBytes: 1, stage1Bytes: 1, stage2Bytes: program.length };
  writeFileSync(
    join(directory, "netinst.json"),
    JSON.stringify({ arch: "amd64", kernelVersion: "6", ...sizes, stage2Digest: digest }),
  );
}

/** A resident agent with `directory` as its home, until it wants to begin anew or the test ends. */
function startResident(
  t: ExecutionContext,
  server: Server,
  directory: string,
  isTrial: boolean,
  identityDirectory: string,
) {
  server.knownNode(macA);
  server.windows.open(macA, "power-on");
  const token = server.windows.tokenFor(macA);
  const console = recordConsole();
  const stop = new AbortController();
  const restarted = Promise.withResolvers<void>();
  const running = runAgent(
    {
      settings: {
        ...{ role: "resident", architecture: "amd64", identityDirectory, interface: "lo" },
        site: { serverKey: server.site.serverKey, discovery: { group: "127.0.0.1", port: 1 } },
        ...{ mac: macA, bootId: "boot-1", simulate: true, unreachableMs: 60_000 },
        server: {
          url: `https://127.0.0.1:${server.listener.port}`,
          authority: server.site.authorityPem,
        },
        home: { directory, isTrial },
        ...(token !== undefined && { token }),
      },
      ...{ console, install, power: async () => undefined, paceMs: 5 },
      restart() {
        restarted.resolve();
        stop.abort();
      },
    },
    stop.signal,
  );
  t.teardown(async () => {
    stop.abort();
    await running;
  });
  return { console, restarted: restarted.promise, running };
}

test("an agent fetches the server's program, begins anew, and keeps what has called", async (t) => {
  const server = await startServer(t);
  build(server, after);
  const [home, identity] = [makeHome(t), temporaryDirectory(t)];
  const first = startResident(t, server, home, false, identity);
  await first.restarted;
  await first.running;
  t.deepEqual(readdirSync(home).toSorted(), ["agent.squashfs", "next.squashfs", "tried.json"]);
  t.true(readFileSync(join(home, "next.squashfs")).equals(after));
  t.deepEqual(await ownProgram({ directory: home, isTrial: false }), {
    digest: sha256(before),
    tried: { digest: sha256(after), times: 1 },
  });
  writeFileSync(join(home, "next.running"), ""); // as the script does that starts it
  const second = startResident(t, server, home, true, identity);
  await until(() => !existsSync(join(home, "tried.json")));
  t.deepEqual(readdirSync(home), ["agent.squashfs"]);
  t.true(readFileSync(join(home, "agent.squashfs")).equals(after));
  const node = server.nodes.byMac(macA);
  t.is(node?.agent?.program?.digest, sha256(after));
  t.true(
    second.console.lines.some((line) => line.startsWith("this program of the agent has called")),
  );
});

test("a program that is not what the server says is not kept, and the agent goes on", async (t) => {
  const server = await startServer(t);
  build(server, after, sha256(before.subarray(1)));
  const home = makeHome(t);
  const { console } = startResident(t, server, home, false, temporaryDirectory(t));
  await until(() => console.lines.some((line) => line.startsWith("the agent was not updated")));
  t.true(console.lines.some((line) => line.includes("sha-256 of the new agent is")));
  t.deepEqual(readdirSync(home), ["agent.squashfs"]);
});

const chunks = (...parts: readonly Buffer[]): Downloader => ({
  async *stream() {
    yield* parts;
  },
});

test("each time it is fetched counts as a try of that program; another begins at one", async (t) => {
  const directory = makeHome(t);
  const home = { directory, isTrial: false };
  const signal = new AbortController().signal;
  const fetch = (program: Buffer) =>
    fetchProgram(
      home,
      { digest: sha256(program), sizeBytes: program.length },
      chunks(program.subarray(0, 5), program.subarray(5)),
      signal,
    );
  await fetch(after);
  renameSync(join(directory, "next.squashfs"), join(directory, "agent.squashfs.away"));
  await fetch(after);
  t.is((await ownProgram(home)).tried?.times, 2);
  await fetch(Buffer.from("another program"));
  t.is((await ownProgram(home)).tried?.times, 1);
});

test("a program that is too long for its word, or for the disk, is refused", async (t) => {
  const directory = makeHome(t);
  const home = { directory, isTrial: false };
  const signal = new AbortController().signal;
  const digest = createHash("sha256").update(after).digest("hex");
  await t.throwsAsync(fetchProgram(home, { digest, sizeBytes: 10 }, chunks(after), signal), {
    instanceOf: AgentError,
    message: "the new agent is longer than 10 bytes",
  });
  await t.throwsAsync(fetchProgram(home, { digest, sizeBytes: 2 ** 52 }, chunks(after), signal), {
    instanceOf: AgentError,
    message: /bytes free, the new agent needs 4503599627370496$/,
  });
  t.deepEqual(readdirSync(directory), ["agent.squashfs"]);
});
