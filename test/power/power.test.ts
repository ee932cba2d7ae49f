import test from "ava";
import { Type } from "typebox";
import { milliseconds } from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import type { Outlet, Rack } from "#protocol/rack.ts";
import {
  NotFoundError,
  PowerRefusedError,
  PowerStuckError,
  PowerUnreachableError,
} from "../../server/errors.ts";
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
    about: "writes down what it is told",
    schema: Type.Object({}),
    canQuery: false,
    minimumOffTime: milliseconds(2000),
    settleTime: milliseconds(0),
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

test("D41: what waited for its outlet's turn asks again whether it is wanted; a cycle that has begun ends", async (t) => {
  const gate = Promise.withResolvers<void>();
  const { power, store, clock, commands } = bench(gate.promise);
  let isWanted = true;
  const fence = () => {
    if (!isWanted) throw new Error("superseded");
  };
  const first = power.cycle(a1, "x", fence);
  const others = [power.set(a1, "off", "x", fence), power.cycle(a1, "x", fence)];
  const refused = Promise.all(others.map((one) => t.throwsAsync(one, { message: "superseded" })));
  await settle();
  isWanted = false;
  gate.resolve();
  await clock.advance(2000);
  await Promise.all([first, refused]);
  t.deepEqual(
    commands.filter((one) => one.endsWith("begins")),
    ["a1 off begins", "a1 on begins"],
  );
  t.is(store.audit.list({ limit: 9 }).length, 2, "what was not done is not in the audit log");
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

/** An outlet that can be asked, and does what `behaviour` says. */
function talking(behaviour: {
  set?: (state: "on" | "off", count: number) => void;
  query?: (last: "on" | "off" | undefined) => "on" | "off" | "unknown";
  inrush?: { onAtOnce: number; onEverySeconds: number };
}) {
  const { store, clock, published } = bench();
  const told: string[] = [];
  const at: number[] = [];
  let last: "on" | "off" | undefined;
  const driver: AnyPowerDriver = {
    kind: "talking",
    about: "can be asked",
    schema: Type.Object({}),
    canQuery: true,
    minimumOffTime: milliseconds(2000),
    settleTime: milliseconds(3000),
    parse: (settings) => settings,
    async set(settings, state) {
      told.push(`${(settings as { name: string }).name} ${state}`);
      at.push(clock.monotonic());
      behaviour.set?.(state, told.length);
      last = state;
    },
    query: async () => behaviour.query?.(last) ?? last ?? "off",
  };
  const events = createEventBus(silentLog);
  events.subscribe((event) => published.push(event));
  const power = createPower({
    store,
    clock,
    events,
    log: silentLog,
    driver: () => driver,
    ...(behaviour.inrush && { inrush: behaviour.inrush }),
  });
  return { power, store, clock, told, at, published };
}

test("an outlet that says yes and stays off is told twice, then named as stuck", async (t) => {
  const { power, clock, told, published } = talking({ query: () => "off" });
  const stuck = t.throwsAsync(power.set(a1, "on", "x"), { instanceOf: PowerStuckError });
  await clock.advance(10_000);
  const error = await stuck;
  t.is(
    error?.message,
    "outlet of slot r/a/1 (talking) was switched on and is still off",
    "a person must be able to find it",
  );
  t.deepEqual(told, ["a1 on", "a1 on"]);
  t.like(published.at(-1), { topic: "power", slot: a1, state: "off", ok: false });
});

test("an outlet stuck on is not followed by its on: the cycle ends with the error", async (t) => {
  const { power, clock, told } = talking({ query: () => "on" });
  const stuck = t.throwsAsync(power.cycle(a1, "x"), { instanceOf: PowerStuckError });
  await clock.advance(10_000);
  await stuck;
  t.deepEqual(told, ["a1 off", "a1 off"]);
});

test("a relay that bounced follows the second order", async (t) => {
  let orders = 0;
  const { power, clock, told } = talking({
    set: () => {
      orders += 1;
    },
    query: () => (orders < 2 ? "off" : "on"),
  });
  const done = power.set(a1, "on", "x");
  await clock.advance(10_000);
  await t.notThrowsAsync(done);
  t.is(told.length, 2);
});

test("an outlet that follows late is waited for, one that cannot tell is believed", async (t) => {
  let asked = 0;
  const late = talking({ query: () => (++asked > 3 ? "on" : "off") });
  const done = late.power.set(a1, "on", "x");
  await late.clock.advance(3000);
  await done;
  t.deepEqual(late.told, ["a1 on"]);
  const mute = talking({ query: () => "unknown" });
  await t.notThrowsAsync(mute.power.set(a1, "on", "x"));
});

test("what a retry can help is tried three times, a refusal once", async (t) => {
  const away = talking({
    set: () => {
      throw new PowerUnreachableError("no route");
    },
  });
  const lost = t.throwsAsync(away.power.set(a1, "on", "x"), { message: "no route" });
  await away.clock.advance(10_000);
  await lost;
  t.is(away.told.length, 3);
  const back = talking({
    set: (_state, count) => {
      if (count < 3) throw new PowerUnreachableError("no route");
    },
  });
  const done = back.power.set(a1, "on", "x");
  await back.clock.advance(10_000);
  await t.notThrowsAsync(done);
  const refusing = talking({
    set: () => {
      throw new PowerRefusedError("no such outlet");
    },
  });
  await t.throwsAsync(refusing.power.set(a1, "on", "x"), { instanceOf: PowerRefusedError });
  t.is(refusing.told.length, 1);
});

test("an outlet that hangs does not keep another one waiting", async (t) => {
  const { store, clock, events } = { ...bench(), events: createEventBus(silentLog) };
  const done: string[] = [];
  const driver: AnyPowerDriver = {
    ...talkingDriver,
    async set(settings, state) {
      const { name } = settings as { name: string };
      if (name === "a1") await new Promise(() => undefined); // for 60 s and longer
      done.push(`${name} ${state}`);
    },
  };
  const power = createPower({
    store,
    clock,
    events,
    log: silentLog,
    driver: () => driver,
    inrush: { onAtOnce: 1, onEverySeconds: 1 },
  });
  const hung = t.throwsAsync(power.set(a1, "on", "x"), {
    instanceOf: PowerUnreachableError,
    message: "outlet of slot r/a/1 did not answer in 30 s",
  });
  const fine = power.set(a2, "on", "x");
  await clock.advance(1000);
  await fine;
  t.deepEqual(done, ["a2 on"]);
  await clock.advance(30_000);
  await hung;
});

const talkingDriver: AnyPowerDriver = {
  kind: "talking",
  about: "can be asked",
  schema: Type.Object({}),
  canQuery: false,
  minimumOffTime: milliseconds(0),
  settleTime: milliseconds(0),
  parse: (settings) => settings,
  set: () => Promise.resolve(),
  query: () => Promise.resolve("unknown"),
};

test("nodes are switched on a few at a time, and off at once", async (t) => {
  const { power, clock, at } = talking({ inrush: { onAtOnce: 2, onEverySeconds: 5 } });
  const b = { rack: "r", stack: "b" };
  const all = [power.set(a1, "on", "x"), power.set(a2, "on", "x"), power.setStack(b, "on", "x")];
  await clock.advance(20_000);
  await Promise.all(all);
  t.deepEqual(at, [0, 0, 5000], "the stack's outlet feeds two nodes");
  const before = clock.monotonic();
  await Promise.all([power.set(a1, "off", "x"), power.set(a2, "off", "x")]);
  t.deepEqual(at.slice(3), [before, before]);
});

test("an outlet's own offSeconds is longer than its driver's", async (t) => {
  const { store, clock, events } = { ...bench(), events: createEventBus(silentLog) };
  const slow = { driver: "talking", settings: { name: "a1", offSeconds: 9 } };
  const slots = [{ name: "1", hostname: "s-a-1", outlet: slow }];
  store.racks.put({ name: "s", stacks: [{ name: "a", x: 0, y: 0, slots }] });
  const at: number[] = [];
  const set = async () => void at.push(clock.monotonic());
  const driver: AnyPowerDriver = { ...talkingDriver, set };
  const power = createPower({ store, clock, events, log: silentLog, driver: () => driver });
  const cycle = power.cycle({ rack: "s", stack: "a", slot: "1" }, "x");
  await clock.advance(9000);
  await cycle;
  t.deepEqual(at, [0, 9000]);
});

test("stored settings that do not fit any more are a refusal that says what is wrong", async (t) => {
  const { store, clock, events } = { ...bench(), events: createEventBus(silentLog) };
  const slots = [{ name: "1", hostname: "s-a-1", outlet: { driver: "ipmi", settings: {} } }];
  store.racks.put({ name: "s", stacks: [{ name: "a", x: 0, y: 0, slots }] });
  const power = createPower({ store, clock, events, log: silentLog });
  await t.throwsAsync(power.query({ rack: "s", stack: "a", slot: "1" }), {
    instanceOf: PowerRefusedError,
    message: /outlet of slot s\/a\/1: host is missing/,
  });
});

test("a rack's own in-rush limit holds beside the site's, and its least off time where an outlet says none", async (t) => {
  const { store, power, clock, at } = talking({});
  store.racks.put({ ...rack, power: { onAtOnce: 1, onEverySeconds: 3, offSeconds: 7 } });
  const both = Promise.all([power.set(a1, "on", "x"), power.set(a2, "on", "x")]);
  await clock.advance(3000);
  await both;
  t.deepEqual(at, [0, 3000]);
  const cycle = power.cycle(a1, "x");
  await clock.advance(7000);
  await cycle;
  t.deepEqual(at.slice(2), [3000, 10_000]);
});

test("sealed settings are opened for the driver only", async (t) => {
  const sealed = { driver: "ipmi", settings: { host: "h", user: "u", password: { sealed: "x" } } };
  const secrets = {
    open: (one: Outlet) => ({ ...one, settings: { ...one.settings, password: "opened" } }),
  };
  const seen: unknown[] = [];
  const driver: AnyPowerDriver = {
    ...talkingDriver,
    parse: (settings) => settings,
    query: (settings) => {
      seen.push(settings);
      return Promise.resolve("off");
    },
  };
  const { store, clock } = bench();
  const events = createEventBus(silentLog);
  const power = createPower({
    store,
    clock,
    events,
    log: silentLog,
    driver: () => driver,
    secrets,
  });
  t.is(await power.probe(sealed), "off");
  t.deepEqual(seen, [{ host: "h", user: "u", password: "opened" }]);
  t.deepEqual(store.audit.list({ limit: 1 }), []);
});
