/** The promises of `server/power/driver.ts` as tests: run over every driver, on what hardware its bench has. */

import { Writable } from "node:stream";
import test, { type ExecutionContext } from "ava";
import { pino } from "pino";
import { milliseconds, parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import type { Task } from "#protocol/job.ts";
import { type Clock, systemClock } from "../../server/clock.ts";
import { PowerRefusedError, PowerUnreachableError, ProvisionError } from "../../server/errors.ts";
import { createEventBus } from "../../server/events.ts";
import { createJobs } from "../../server/job/jobs.ts";
import { silentLog } from "../../server/log.ts";
import { createNodes } from "../../server/node/nodes.ts";
import { createPower } from "../../server/power/power.ts";
import type { AnyPowerDriver } from "../../server/power/registry.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import type { Store } from "../../server/store/store.ts";
import { createRigQueue } from "../job/rig.ts";
import { noPower } from "../support/no-power.ts";

/** Hardware, or what stands for it. */
export interface Bench {
  readonly driver: AnyPowerDriver;
  /** An outlet that obeys. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** What the outlet does, seen from outside the driver. */
  state(): Promise<"on" | "off"> | "on" | "off";
  /** How often anybody asked or told the hardware something. */
  contacts(): number;
  /** Settings whose hardware does not answer. */
  readonly silent?: Readonly<Record<string, unknown>>;
  /** Settings whose hardware says no. */
  readonly refusing?: Readonly<Record<string, unknown>>;
  /** Settings whose hardware takes the order and never ends it. */
  readonly hanging?: Readonly<Record<string, unknown>>;
  /** A driver that wakes, and cannot switch off. */
  readonly cannotSwitchOff?: boolean;
}

const { signal } = new AbortController();

export function powerDriverContract(
  name: string,
  open: (t: ExecutionContext) => Promise<Bench> | Bench,
): void {
  test(`${name}: a server that starts and reads the rack file touches no outlet`, async (t) => {
    const { driver, settings, contacts } = await open(t);
    driver.parse(settings);
    powerOf(driver, settings);
    t.is(contacts(), 0);
  });

  test(`${name}: on and off are done, and asking twice is no error`, async (t) => {
    const { driver, settings, state, cannotSwitchOff } = await open(t);
    await driver.set(settings, "on", signal);
    await driver.set(settings, "on", signal);
    await until(t, state, "on");
    if (cannotSwitchOff) {
      const error = await t.throwsAsync(driver.set(settings, "off", signal), {
        instanceOf: PowerRefusedError,
      });
      t.regex(error?.message ?? "", /shutdown job|other outlet/);
      return;
    }
    await driver.set(settings, "off", signal);
    await driver.set(settings, "off", signal);
    await until(t, state, "off");
  });

  test(`${name}: asking tells the state, and changes nothing`, async (t) => {
    const { driver, settings, state } = await open(t);
    for (const wanted of ["on", "off"] as const) {
      if (!driver.canQuery) break;
      await driver.set(settings, wanted, signal);
      await until(t, () => driver.query(settings, signal), wanted);
      await until(t, state, wanted);
    }
    t.is(await driver.query(settings, signal), driver.canQuery ? "off" : "unknown");
  });

  test(`${name}: hardware that is not there is unreachable, one that says no refuses`, async (t) => {
    const { driver, silent, refusing } = await open(t);
    if (silent) {
      await t.throwsAsync(driver.set(silent, "on", signal), { instanceOf: PowerUnreachableError });
    }
    if (refusing) {
      await t.throwsAsync(driver.set(refusing, "on", signal), { instanceOf: PowerRefusedError });
    }
    t.pass();
  });

  test(`${name}: waiting ends when the caller gives up`, async (t) => {
    const { driver, hanging, silent, settings } = await open(t);
    const giveUp = new AbortController();
    const asked = driver.set(hanging ?? silent ?? settings, "on", giveUp.signal);
    giveUp.abort();
    const outcome = await asked.then(
      () => "done",
      (error: unknown) => error,
    );
    t.true(outcome === "done" || outcome instanceof ProvisionError, String(outcome));
  });

  test(`${name}: a cycle whose server is killed while it is off is finished by the next`, async (t) => {
    const { driver, settings, state, cannotSwitchOff } = await open(t);
    await driver.set(settings, "on", signal);
    await until(t, state, "on");
    const store = rackOf(driver, { ...settings, offSeconds: longest });
    const first = await cycling(store, driver, stopsBefore(longest));
    if (cannotSwitchOff) {
      await until(t, () => first()?.state ?? "none", "failed");
      t.is(await state(), "on");
      return;
    }
    await until(t, state, "off");
    await until(t, () => (first() && isOrdered(store, first()) ? "ordered" : "not yet"), "ordered");
    const second = await cycling(store, driver, systemClock, t);
    await until(t, () => second()?.state ?? "none", "done");
    await until(t, state, "on");
    t.is(second()?.epoch, 1);
    const cuts = store.audit.list({ limit: 10 }).filter(({ what }) => what === "power off");
    t.is(cuts.length, 1);
  });

  test(`${name}: no secret of its settings is in log, event, audit or error`, async (t) => {
    const { driver, settings, silent, refusing } = await open(t);
    for (const outlet of [settings, silent, refusing]) {
      if (!outlet) continue;
      const { power, seen } = powerOf(driver, outlet);
      const outcome = await power.set(place, "on", "ada").catch(String);
      const all = `${seen()} ${String(outcome)}`;
      for (const canary of secretsOf(driver, outlet)) t.false(all.includes(canary), canary);
    }
    t.pass();
  });
}

/** Seconds off that a cycle of the first server waits for ever. */
const longest = 60;

/** A clock on which that wait does not end: the server is killed in it. */
function stopsBefore(seconds: number): Clock {
  return {
    ...systemClock,
    every: () => () => undefined,
    sleep: (duration, over) =>
      duration > seconds * 900 ? new Promise(() => undefined) : systemClock.sleep(duration, over),
  };
}

function isOrdered(store: Store, task: Task | undefined): boolean {
  return task !== undefined && store.attempts.get(task.id, 1)?.powerOrderedAt !== undefined;
}

/**
 * A server on that journal, whose node is power-cycled; gives the task as the journal has it.
 *
 * @param t - ends the server with the test; without it nothing does, as if it had been killed
 */
async function cycling(
  store: Store,
  driver: AnyPowerDriver,
  clock: Clock,
  t?: ExecutionContext,
): Promise<() => Task | undefined> {
  const context = { store, clock, log: silentLog, events: createEventBus(silentLog) };
  const nodes = createNodes(context);
  const power = createPower({ ...context, driver: () => driver });
  const jobs = createJobs({ ...context, ...noPower, nodes, power, queue: createRigQueue() });
  await jobs.start();
  t?.teardown(() => jobs.close());
  if (nodes.list().length === 0) {
    const mac = parseMacAddress("52:54:00:00:00:01");
    nodes.heard({ mac, ipxe: false, architectures: [] });
    const node = nodes.place(mac, place, "r-a-1", parseIpv4Address("10.77.0.11"));
    jobs.create({
      ...{ kind: "power-cycle", parameters: { force: true } },
      ...{ selector: "all", nodes: [node.id], createdBy: "ada" },
    });
  }
  return () => store.jobs.list({ limit: 1 }).flatMap(({ id }) => store.tasks.ofJob(id))[0];
}

const place = { rack: "r", stack: "a", slot: "1" };

/** A journal with a rack of one slot with that outlet. */
function rackOf(driver: AnyPowerDriver, settings: Readonly<Record<string, unknown>>): Store {
  const store = openSqliteStore(":memory:");
  const outlet = { driver: driver.kind, settings };
  const slots = [{ name: "1", hostname: "r-a-1", outlet }];
  store.racks.put({ name: "r", stacks: [{ name: "a", x: 0, y: 0, slots }] });
  return store;
}

/** Such a rack, and everything that is written about it. */
function powerOf(driver: AnyPowerDriver, settings: Readonly<Record<string, unknown>>) {
  const store = rackOf(driver, settings);
  const written: string[] = [];
  const sink = new Writable({
    write(line, _encoding, done) {
      written.push(String(line));
      done();
    },
  });
  const log = pino({ level: "trace" }, sink);
  const events = createEventBus(log);
  events.subscribe((event: DomainEvent) => written.push(JSON.stringify(event)));
  const power = createPower({ store, events, log, clock: systemClock, driver: () => driver });
  const seen = () => [...written, JSON.stringify(store.audit.list({ limit: 10 }))].join("\n");
  return { power, seen };
}

function secretsOf(
  { schema }: AnyPowerDriver,
  settings: Readonly<Record<string, unknown>>,
): readonly string[] {
  return Object.entries(schema.properties)
    .filter(([, member]) => (member as { writeOnly?: boolean }).writeOnly)
    .map(([name]) => settings[name])
    .filter((value) => typeof value === "string");
}

/** Hardware may lag behind; the test ends with ava's time limit if it never follows. */
async function until(
  t: ExecutionContext,
  look: () => Promise<string> | string,
  wanted: string,
): Promise<void> {
  for (let round = 0; round < 1000; round++) {
    if ((await look()) === wanted) break;
    await systemClock.sleep(milliseconds(50));
  }
  t.is(await look(), wanted);
}
