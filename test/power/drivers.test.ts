import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { PowerRefusedError, PowerUnreachableError } from "../../server/errors.ts";
import { manualDriver } from "../../server/power/drivers/manual.ts";
import { qemuDriver } from "../../server/power/drivers/qemu.ts";

const { signal } = new AbortController();

test("a switch for people cannot be switched; the message says what to do", async (t) => {
  await t.throwsAsync(manualDriver.set({ note: "breaker 3" }, "off", signal), {
    instanceOf: PowerRefusedError,
    message: "this outlet is switched by hand: please switch it off (breaker 3)",
  });
  t.is(await manualDriver.query({}, signal), "unknown");
});

const settings: readonly (readonly [title: string, value: unknown, reason: RegExp])[] = [
  ["nothing", undefined, /not written as members/],
  ["a relative socket", { socket: "r.sock", outlet: "a" }, /absolute path/],
  ["no outlet", { socket: "/r.sock" }, /outlet/],
  ["a member too many", { socket: "/r.sock", outlet: "a", port: 1 }, /no member port/],
];
for (const [title, value, reason] of settings) {
  test(`qemu settings are refused: ${title}`, (t) => {
    t.throws(() => qemuDriver.parse(value), { instanceOf: RangeError, message: reason });
  });
}

/** A power strip that gives one fixed answer; returns its settings and the questions it heard. */
async function strip(t: ExecutionContext, answer: string) {
  const directory = mkdtempSync(join(tmpdir(), "marcoboot-"));
  const heard: string[] = [];
  const server = createServer((connection) => {
    connection.on("data", (bytes) => {
      heard.push(bytes.toString().trim());
      connection.end(answer);
    });
  });
  const socket = join(directory, "power.sock");
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  t.teardown(() => {
    server.close();
    rmSync(directory, { recursive: true });
  });
  return { outlet: { socket, outlet: "a1" }, heard };
}

test("on, off and query go over the socket, one line each", async (t) => {
  const { outlet, heard } = await strip(t, '{"ok":true,"state":"on"}\n');
  await qemuDriver.set(outlet, "on", signal);
  t.is(await qemuDriver.query(outlet, signal), "on");
  t.deepEqual(heard, ['{"verb":"on","outlet":"a1"}', '{"verb":"query","outlet":"a1"}']);
});

const answers: readonly (readonly [
  string,
  string,
  typeof PowerRefusedError | typeof PowerUnreachableError,
])[] = [
  ["a refusal", '{"ok":false,"reason":"no outlet a1"}\n', PowerRefusedError],
  ["the other state", '{"ok":true,"state":"off"}\n', PowerRefusedError],
  ["nonsense", "hello\n", PowerUnreachableError],
  ["a state nobody knows", '{"ok":true,"state":"warm"}\n', PowerUnreachableError],
  ["a closed connection", "", PowerUnreachableError],
];
for (const [title, answer, error] of answers) {
  test(`qemu outlet: ${title}`, async (t) => {
    const { outlet } = await strip(t, answer);
    await t.throwsAsync(qemuDriver.set(outlet, "on", signal), { instanceOf: error });
  });
}

test("a strip that is not there is unreachable", async (t) => {
  const outlet = { socket: "/nonexistent/power.sock", outlet: "a1" };
  await t.throwsAsync(qemuDriver.query(outlet, signal), {
    instanceOf: PowerUnreachableError,
    message: /\/nonexistent\/power.sock did not answer/,
  });
});

test("waiting ends when the caller gives up", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "marcoboot-"));
  const server = createServer(() => undefined);
  const socket = join(directory, "power.sock");
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  t.teardown(() => {
    server.close();
    rmSync(directory, { recursive: true });
  });
  const giveUp = new AbortController();
  const question = qemuDriver.query({ socket, outlet: "a1" }, giveUp.signal);
  giveUp.abort();
  await t.throwsAsync(question, { instanceOf: PowerUnreachableError });
});
