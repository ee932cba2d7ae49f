import test from "ava";
import { milliseconds } from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import type { Rack } from "#protocol/rack.ts";
import { NotFoundError, PowerRefusedError, PowerUnreachableError } from "../../server/errors.ts";
import { createEventBus } from "../../server/events.ts";
import { silentLog } from "../../server/log.ts";
import { createPower } from "../../server/power/power.ts";
import type { AnyPowerDriver } from "../../server/power/registry.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { manualClock, settle } from "../support/manual-clock.ts";

const outlet = (name: string) => ({ driver: "fake", settings: { name } });
const rack: Rack = {
  name: "r",
  stacks: [
    {
      name: "a",
      x: 0,
      y: 0,
      slots: [
        { name: "1", hostname: "r-a-1", outlet: outlet("a1") },
        { name: "2", hostname: "r-a-2", outlet: outlet("a2") },
        { name: "3", hostname: "r-a-3" },
      ],
    },
    {
      name: "b",
      x: 1,
      y: 0,
      outlet: outlet("b"),
      slots: [
        { name: "1", hostname: "r-b-1" },
        { name: "2", hostname: "r-b-2" },
      ],
    },
  ],
};
const a1 = { rack: "r", stack: "a", slot: "1" };
const a2 = { rack: "r", stack: "a", slot: "2" };

/** A driver that writes down what it is told; `gate` holds its answers back. */
function bench(gate: Promise<void> = Promise.resolve()) {
  const store = openSqliteStore(":memory:");
  store.racks.put(rack);
  const clock = manualClock();
  const events = createEventBus(silentLog);
  const published: DomainEvent[] = [];
  events.subscribe((event) => published.push(event));
  const commands: string[] = [];
  const driver: AnyPowerDriver = {
    kind: "fake",
    minimumOffTime: milliseconds(2000),
    parse: (settings) => settings,
    async set(settings, state) {
      const { name } = settings as { name: string };
      commands.push(`${name} ${state} begins`);
      await gate;
      commands.push(`${name} ${state} ends`);
    },
    query: () => Promise.resolve("on"),
  };
  const power = createPower({ store, clock, events, log: silentLog, driver: () => driver });
  return { power, store, clock, commands, published };
}

test("a command is audited, done and published", async (t) => {
  const { power, store, commands, published } = bench();
  await power.set(a1, "on", "ada");
  t.deepEqual(commands, ["a1 on begins", "a1 on ends"]);
  t.deepEqual(published, [{ topic: "power", slot: a1, state: "on", ok: true }]);
  const [row] = store.audit.list({ limit: 1 });
  t.like(row, { who: "ada", what: "power on", target: "r/a/1" });
});

test("switching on what is on is not an error", async (t) => {
  const { power } = bench();
  await power.set(a1, "on", "ada");
  await t.notThrowsAsync(power.set(a1, "on", "ada"));
});

test("two commands on one outlet run one after the other, on two outlets side by side", async (t) => {
  const gate = Promise.withResolvers<void>();
  const { power, commands } = bench(gate.promise);
  const all = [power.set(a1, "on", "x"), power.set(a1, "off", "x"), power.set(a2, "on", "x")];
  await settle();
  t.deepEqual(commands, ["a1 on begins", "a2 on begins"]);
  gate.resolve();
  await Promise.all(all);
  t.true(commands.indexOf("a1 on ends") < commands.indexOf("a1 off begins"));
});

test("a cycle stays off for the driver's least time", async (t) => {
  const { power, clock, commands } = bench();
  const cycle = power.cycle(a1, "x");
  await clock.advance(1999);
  t.is(commands.at(-1), "a1 off ends");
  await clock.advance(1);
  await cycle;
  t.is(commands.at(-1), "a1 on ends");
});

test("an outlet that does not answer in 30 s is unreachable, and the next command gets its turn", async (t) => {
  const { power, clock, published } = bench(new Promise(() => undefined));
  const late = t.throwsAsync(power.set(a1, "on", "x"), { instanceOf: PowerUnreachableError });
  await clock.advance(30_000);
  await late;
  t.like(published.at(-1), { topic: "power", state: "unknown", ok: false });
});

test("a slot without outlet is refused, an unknown slot is not found", async (t) => {
  const { power } = bench();
  await t.throwsAsync(power.set({ ...a1, slot: "3" }, "on", "x"), {
    instanceOf: PowerRefusedError,
    message: /r\/a\/3 has no outlet/,
  });
  await t.throwsAsync(power.set({ ...a1, slot: "9" }, "on", "x"), { instanceOf: NotFoundError });
});

test("a slot that shares its outlet can be switched on, but not off or cycled", async (t) => {
  const { power, published } = bench();
  const b1 = { rack: "r", stack: "b", slot: "1" };
  await power.set(b1, "on", "x");
  t.is(published.length, 2, "both slots of the stack have power now");
  await t.throwsAsync(power.set(b1, "off", "x"), { message: /shares its outlet with 1 others/ });
  await t.throwsAsync(power.cycle(b1, "x"), { instanceOf: PowerRefusedError });
  await power.setStack({ rack: "r", stack: "b" }, "off", "x");
  t.like(published.at(-1), { slot: { slot: "2" }, state: "off" });
});

test("query asks the hardware", async (t) => {
  const { power } = bench();
  t.is(await power.query(a1), "on");
});
