/** The promises of `server/power/driver.ts` as tests: run over every driver, on what hardware its bench has. */

import { Writable } from "node:stream";
import test, { type ExecutionContext } from "ava";
import { pino } from "pino";
import { milliseconds } from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import { systemClock } from "../../server/clock.ts";
import { PowerRefusedError, PowerUnreachableError, ProvisionError } from "../../server/errors.ts";
import { createEventBus } from "../../server/events.ts";
import { createPower } from "../../server/power/power.ts";
import type { AnyPowerDriver } from "../../server/power/registry.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";

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

  test(`${name}: no secret of its settings is in log, event, audit or error`, async (t) => {
    const { driver, settings, silent, refusing } = await open(t);
    for (const outlet of [settings, silent, refusing]) {
      if (!outlet) continue;
      const { power, seen } = powerOf(driver, outlet);
      const outcome = await power
        .set({ rack: "r", stack: "a", slot: "1" }, "on", "ada")
        .catch(String);
      const all = `${seen()} ${String(outcome)}`;
      for (const canary of secretsOf(driver, outlet)) t.false(all.includes(canary), canary);
    }
    t.pass();
  });
}

/** A rack of one slot with that outlet, and everything that is written about it. */
function powerOf(driver: AnyPowerDriver, settings: Readonly<Record<string, unknown>>) {
  const store = openSqliteStore(":memory:");
  const outlet = { driver: driver.kind, settings };
  const slots = [{ name: "1", hostname: "r-a-1", outlet }];
  store.racks.put({ name: "r", stacks: [{ name: "a", x: 0, y: 0, slots }] });
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
  for (let round = 0; round < 200; round++) {
    if ((await look()) === wanted) break;
    await systemClock.sleep(milliseconds(50));
  }
  t.is(await look(), wanted);
}
