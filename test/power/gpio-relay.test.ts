import test from "ava";
import { PowerRefusedError } from "../../server/errors.ts";
import { createGpioRelayDriver } from "../../server/power/drivers/gpio-relay.ts";
import { newChip } from "./benches.ts";
import { fakeGpiod } from "./fake-gpiod.ts";

const { signal } = new AbortController();

// Options as `gpioset --help` of Debian 12 (1.6.3) and of libgpiod 2 print them.
const syntax = [
  [1, true, false, (chip: string) => `gpioset --mode=signal --background ${chip} 17=1`],
  [1, true, true, (chip: string) => `gpioset --mode=signal --background --active-low ${chip} 17=1`],
  [1, false, false, (chip: string) => `gpioset --mode=exit ${chip} 17=1`],
  [
    2,
    true,
    false,
    (chip: string) => `gpioset --daemonize --consumer=marcoboot --chip=${chip} 17=1`,
  ],
  [
    2,
    false,
    true,
    (chip: string) => `gpioset --toggle=0 --consumer=marcoboot --active-low --chip=${chip} 17=1`,
  ],
] as const;
for (const [version, hold, activeLow, call] of syntax) {
  test(`gpiod ${version}, hold ${hold}, active-low ${activeLow}: the arguments of its version`, async (t) => {
    const gpiod = fakeGpiod(t, version);
    const settings = { chip: newChip(), line: 17, hold, activeLow };
    await createGpioRelayDriver(gpiod.path).set(settings, "on", signal);
    t.deepEqual(gpiod.calls(), [call(settings.chip)]);
    t.is(gpiod.level(17), activeLow ? "0" : "1");
  });
}

test("a server that restarts finds the processes that hold its lines, and touches nothing", async (t) => {
  const gpiod = fakeGpiod(t, 1);
  const settings = { chip: newChip(), line: 17, hold: true, activeLow: false };
  await createGpioRelayDriver(gpiod.path).set(settings, "on", signal);
  const restarted = createGpioRelayDriver(gpiod.path);
  t.is(await restarted.query(settings, signal), "on");
  await restarted.set(settings, "on", signal);
  t.is(gpiod.calls().length, 1, "one process, started before the restart");
  t.is(gpiod.level(17), "1");
});

test("gpiod 1 would make a line an input by reading it: it is never read", async (t) => {
  const gpiod = fakeGpiod(t, 1);
  const settings = { chip: newChip(), line: 17, hold: false, activeLow: false };
  const driver = createGpioRelayDriver(gpiod.path);
  await driver.set(settings, "on", signal);
  t.is(await driver.query(settings, signal), "unknown");
  t.is(gpiod.level(17), "1");
  t.deepEqual(
    gpiod.calls().filter((call) => call.startsWith("gpioget")),
    [],
  );
});

test("gpiod 2 reads a line that nobody holds as it is", async (t) => {
  const gpiod = fakeGpiod(t, 2);
  const settings = { chip: newChip(), line: 17, hold: false, activeLow: true };
  const driver = createGpioRelayDriver(gpiod.path);
  await driver.set(settings, "on", signal);
  t.is(await driver.query(settings, signal), "on");
  t.is(gpiod.calls().at(-1), `gpioget --as-is --numeric --active-low --chip=${settings.chip} 17`);
});

test("a line of another program is refused, and left alone", async (t) => {
  const gpiod = fakeGpiod(t, 2);
  const driver = createGpioRelayDriver(gpiod.path);
  const other = { chip: newChip(), line: 17, hold: true, activeLow: false };
  await driver.set(other, "on", signal);
  await t.throwsAsync(driver.set({ ...other, chip: newChip() }, "off", signal), {
    instanceOf: PowerRefusedError,
    message: /Device or resource busy/,
  });
  t.is(gpiod.level(17), "1");
});

test("two lines are held side by side", async (t) => {
  const gpiod = fakeGpiod(t, 1);
  const driver = createGpioRelayDriver(gpiod.path);
  const settings = { chip: newChip(), hold: true, activeLow: false };
  await driver.set({ ...settings, line: 17 }, "on", signal);
  await driver.set({ ...settings, line: 18 }, "on", signal);
  await driver.set({ ...settings, line: 17 }, "off", signal);
  t.is(gpiod.level(17), "0");
  t.is(gpiod.level(18), "1");
});

test("without gpiod the message says what to install", async (t) => {
  const driver = createGpioRelayDriver("/nonexistent");
  await t.throwsAsync(
    driver.set({ chip: newChip(), line: 17, hold: true, activeLow: false }, "on", signal),
    { instanceOf: PowerRefusedError, message: /install the Debian package gpiod/ },
  );
});
