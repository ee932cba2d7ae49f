import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { linux, loadCLibrary } from "../server/net/c-library.ts";
import { openServiceManager, unixAddress } from "../server/service-manager.ts";
import { manualClock } from "./support/manual-clock.ts";
import { temporaryDirectory } from "./support/temporary.ts";

/** Plays systemd: what has come to the socket since it was last asked. */
async function listen(t: ExecutionContext, path: string): Promise<() => readonly string[]> {
  const c = await loadCLibrary();
  const fd = c.socket(linux.unix, linux.datagram | linux.closeOnExec, 0);
  t.teardown(() => void c.close(fd));
  const address = unixAddress(path);
  t.is(c.bind(fd, address, address.length), 0);
  const message = Buffer.alloc(200);
  return () => {
    const heard: string[] = [];
    for (;;) {
      const length = c.recv(fd, message, message.length, linux.dontWait);
      if (length < 0) return heard;
      heard.push(message.toString("utf8", 0, length));
    }
  };
}

for (const [title, pathOf] of [
  ["a socket", (t) => join(temporaryDirectory(t), "notify")],
  ["an abstract address", () => `@marcoboot-test-${process.pid}`],
] as const satisfies readonly (readonly [string, (t: ExecutionContext) => string])[]) {
  test(`systemd is told that the server is ready, alive and ending, by ${title}`, async (t) => {
    const path = pathOf(t);
    const heard = await listen(t, path);
    const clock = manualClock();
    const environment = { NOTIFY_SOCKET: path, WATCHDOG_USEC: "60000000" };
    const manager = await openServiceManager(environment, clock);
    t.deepEqual(heard(), []);
    manager.ready();
    t.deepEqual(heard(), ["READY=1"]);
    await clock.advance(60_000);
    t.deepEqual(heard(), ["WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]);
    manager.stopping();
    await clock.advance(60_000);
    t.deepEqual(heard(), ["STOPPING=1"]);
  });
}

test("without a watchdog there are no signs of life", async (t) => {
  const path = join(temporaryDirectory(t), "notify");
  const heard = await listen(t, path);
  const clock = manualClock();
  (await openServiceManager({ NOTIFY_SOCKET: path }, clock)).ready();
  await clock.advance(600_000);
  t.deepEqual(heard(), ["READY=1"]);
});

test("a service manager that is gone, or none, disturbs nobody", async (t) => {
  const clock = manualClock();
  for (const NOTIFY_SOCKET of [undefined, join(temporaryDirectory(t), "gone")]) {
    const manager = await openServiceManager({ NOTIFY_SOCKET, WATCHDOG_USEC: "3000000" }, clock);
    manager.ready();
    await clock.advance(10_000);
    t.notThrows(() => manager.stopping());
  }
});
