import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { PowerRefusedError, PowerUnreachableError } from "../../server/errors.ts";
import { createEventBus } from "../../server/events.ts";
import { silentLog } from "../../server/log.ts";
import { createPower } from "../../server/power/power.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { manualClock } from "../support/manual-clock.ts";
import { until } from "../support/until.ts";
import { commandBench } from "./benches.ts";

const { signal } = new AbortController();

test("what a shell would read is one argument, as it was written", async (t) => {
  const { driver, calls } = commandBench(t);
  const outlet = "a; touch owned $(id) 'x' {state}";
  await driver.set({ command: ["switch-strip", "{outlet}", "{state}"], outlet }, "on", signal);
  t.deepEqual(calls(), [`2 ${outlet} on`]);
});

test("placeholders are filled in only where they are a whole argument", async (t) => {
  const { driver, calls } = commandBench(t);
  const command = ["switch-strip", "x{outlet}", "{state}", "--port={outlet}"];
  await driver.set({ command, outlet: "a1" }, "on", signal);
  t.deepEqual(calls(), ["3 x{outlet} on --port={outlet}"]);
});

for (const name of ["/bin/sh", "../sh", "a/b", "", "-c", "."]) {
  test(`only a file name of the directory is a program: not ${JSON.stringify(name)}`, (t) => {
    const { driver } = commandBench(t);
    t.throws(() => driver.parse({ command: [name, "{state}"], outlet: "a1" }), {
      instanceOf: RangeError,
    });
  });
}

test("an outlet is never taken for an option, a program that is not there is refused", async (t) => {
  const { driver } = commandBench(t);
  t.throws(() => driver.parse({ command: ["switch-strip", "{outlet}"], outlet: "--help" }), {
    instanceOf: RangeError,
    message: /^outlet must match/,
  });
  await t.throwsAsync(driver.set({ command: ["absent"], outlet: "a1" }, "on", signal), {
    instanceOf: PowerRefusedError,
    message: /absent cannot be run/,
  });
});

// Whoever waits for a relay board that hangs has given up by then, and has perhaps ordered the opposite.
test("D41: a program whose time is up is ended with all it started: what it would do late never happens", async (t) => {
  const { driver, directory } = commandBench(t);
  const path = join(directory, "hangs");
  writeFileSync(
    path,
    `#!/bin/sh\ncd ${directory}\nsleep 600 &\necho $! > child\nwait\necho "$2" > late\n`,
  );
  chmodSync(path, 0o755);
  const store = openSqliteStore(":memory:");
  const settings = { command: ["hangs", "{outlet}", "{state}"], outlet: "a1" };
  const slot = { name: "1", hostname: "r-a-1", outlet: { driver: "command", settings } };
  store.racks.put({ name: "r", stacks: [{ name: "a", x: 0, y: 0, slots: [slot] }] });
  const clock = manualClock();
  const events = createEventBus(silentLog);
  const power = createPower({ store, clock, events, log: silentLog, driver: () => driver });
  const order = power.set({ rack: "r", stack: "a", slot: "1" }, "off", "x");
  const refused = t.throwsAsync(order, { instanceOf: PowerUnreachableError });
  const child = join(directory, "child");
  await until(() => existsSync(child) && readFileSync(child, "utf8").endsWith("\n"));
  const pid = readFileSync(child, "utf8").trim();
  t.true(existsSync(`/proc/${pid}`));
  await clock.advance(30_000);
  await refused;
  await until(() => !isAlive(pid));
  t.false(existsSync(join(directory, "late")));
});

/** Not one that has ended and was not asked how. */
function isAlive(pid: string): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false; // no such process
  }
}
