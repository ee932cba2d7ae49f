/**
 * Switching power by slot: finds the outlet in the rack, keeps two commands off
 * the same outlet at once, lets capacitors drain, spreads in-rush, tries again
 * what a retry can help, reads back what was set, and leaves an audit row and an
 * event for each command. Drivers know outlets; only this file knows slots.
 */

import { type Milliseconds, milliseconds } from "#protocol/brand.ts";
import { type PowerState, type SlotRef, slotText } from "#protocol/node.ts";
import type { Outlet, Rack, Stack } from "#protocol/rack.ts";
import type { Clock } from "../clock.ts";
import {
  NotFoundError,
  PowerRefusedError,
  PowerStuckError,
  PowerUnreachableError,
  ProvisionError,
} from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { Log } from "../log.ts";
import type { Store } from "../store/store.ts";
import { type AnyPowerDriver, driverNamed } from "./registry.ts";
import { identityOf, plainSecrets, type Secrets } from "./secrets.ts";
import { createGate, createSequencer, type Sequencer } from "./sequencer.ts";

export interface Power {
  /**
   * Idempotent. A slot of a stack with one common outlet can be switched on, but
   * not off: its neighbours would lose power too (use {@link Power.setStack}).
   * Where the hardware can be asked, resolves only when it says that it obeyed.
   *
   * @param who - for the audit log: a user's name, or `server`
   * @param fence - called when its turn at the outlet has come; what it throws is thrown, and nothing is switched
   * @throws NotFoundError, PowerRefusedError, PowerUnreachableError, PowerStuckError
   */
  set(slot: SlotRef, state: "on" | "off", who: string, fence?: () => void): Promise<void>;
  /** Switches a stack's common outlet. Errors as {@link Power.set}. */
  setStack(stack: Omit<SlotRef, "slot">, state: "on" | "off", who: string): Promise<void>;
  /** Off, the driver's least off time, on. Errors as {@link Power.set}. */
  cycle(slot: SlotRef, who: string, fence?: () => void): Promise<void>;
  /**
   * Switches the slot's outlet off, whatever else it feeds ({@link Power.slotsOn}), and with
   * `restart` on again after the least off time. Errors as {@link Power.set}.
   */
  cut(slot: SlotRef, restart: boolean, who: string, fence?: () => void): Promise<void>;
  /** Every slot that the slot's outlet feeds, itself among them. */
  slotsOn(slot: SlotRef): readonly SlotRef[];
  /** `unknown` where the hardware cannot be asked. @throws NotFoundError, PowerUnreachableError */
  query(slot: SlotRef): Promise<PowerState>;
  /** Asks an outlet that need not be in any rack; changes nothing. Errors as {@link Power.query}. */
  probe(outlet: Outlet): Promise<PowerState>;
  /** The slot's own outlet, or its stack's; undefined when there is none or no such slot. */
  outletOf(slot: SlotRef): Outlet | undefined;
}

export interface PowerContext {
  readonly store: Pick<Store, "racks" | "audit">;
  readonly events: EventBus;
  readonly clock: Clock;
  readonly log: Log;
  /** Default: the registry. */
  readonly driver?: (kind: string) => AnyPowerDriver | undefined;
  /** At most `onAtOnce` nodes are switched on within `onEverySeconds`. Default: no limit. */
  readonly inrush?: { readonly onAtOnce: number; readonly onEverySeconds: number };
  /** Default: the journal holds none that are sealed. */
  readonly secrets?: Pick<Secrets, "open">;
}

/** Hardware that has not answered by then, retries included, is unreachable. */
const answerWithin = milliseconds(30_000);
/** Before the second and the third try of what a retry can help. */
const retryAfter = [milliseconds(1000), milliseconds(3000)] as const;
/** Between questions whether the outlet has obeyed. */
const readBackPeriod = milliseconds(500);
/** How often an outlet that does not obey is told. */
const orders = 2;
/** Questions at once to one device: PDUs have small processors and few sessions. */
const perDevice = 4;

/** One outlet and all slots that hang on it. */
interface Circuit {
  readonly driver: AnyPowerDriver;
  readonly settings: unknown;
  /** Of the rack file, for messages. */
  readonly name: string;
  readonly slots: readonly SlotRef[];
  readonly key: string;
  readonly minimumOffTime: Milliseconds;
  /** Of its rack. */
  readonly sequencer: Sequencer | undefined;
}

export function createPower(context: PowerContext): Power {
  const { store, events, clock, log } = context;
  const findDriver = context.driver ?? driverNamed;
  const queues = new Map<string, Promise<unknown>>();
  const offSince = new Map<string, Milliseconds>();
  const devices = createGate(perDevice);
  const { onAtOnce = Number.POSITIVE_INFINITY, onEverySeconds = 0 } = context.inrush ?? {};
  const every = milliseconds(onEverySeconds * 1000);
  const sequencer = createSequencer({ atOnce: onAtOnce, every, clock });
  const rackSequencers = new Map<string, { readonly key: string; readonly sequencer: Sequencer }>();
  const { open } = context.secrets ?? plainSecrets;

  /** Undefined where the rack file sets no limit. */
  const sequencerOf = (rack: Rack | undefined): Sequencer | undefined => {
    const { onAtOnce: atOnce, onEverySeconds: seconds = 1 } = rack?.power ?? {};
    if (!rack || atOnce === undefined) return undefined;
    const key = `${atOnce} ${seconds}`;
    const known = rackSequencers.get(rack.name);
    if (known?.key === key) return known.sequencer;
    const made = createSequencer({ atOnce, every: milliseconds(seconds * 1000), clock });
    rackSequencers.set(rack.name, { key, sequencer: made });
    return made;
  };

  const find = ({ rack: name, stack, slot }: SlotRef) => {
    const rack = store.racks.get(name);
    const foundStack = rack?.stacks.find((one) => one.name === stack);
    const foundSlot = foundStack?.slots.find((one) => one.name === slot);
    return rack && foundStack && foundSlot && { rack, stack: foundStack, slot: foundSlot };
  };

  const circuit = (
    outlet: Outlet | undefined,
    slots: readonly SlotRef[],
    what: string,
    rack?: Rack,
  ): Circuit => {
    if (!outlet) throw new PowerRefusedError(`${what} has no outlet in the rack file`);
    const driver = findDriver(outlet.driver);
    if (!driver) throw new PowerRefusedError(`${what}: no power driver ${outlet.driver}`);
    const settings = settingsOf(driver, open(outlet), what);
    return {
      driver,
      settings,
      name: `outlet of ${what}`,
      slots,
      key: identityOf(driver, settings),
      minimumOffTime: minimumOffTimeOf(driver, settings, rack),
      sequencer: sequencerOf(rack),
    };
  };

  const slotsOn = (ref: SlotRef): readonly SlotRef[] => {
    const found = find(ref);
    const isShared = found && !found.slot.outlet && found.stack.outlet;
    return isShared ? slotsOf(ref.rack, found.stack) : [ref];
  };

  const circuitOfSlot = (ref: SlotRef): Circuit => {
    const found = find(ref);
    if (!found) throw new NotFoundError(`no slot ${slotText(ref)}`);
    const outlet = found.slot.outlet ?? found.stack.outlet;
    return circuit(outlet, slotsOn(ref), `slot ${slotText(ref)}`, found.rack);
  };

  const circuitOfStack = ({ rack: name, stack }: Omit<SlotRef, "slot">): Circuit => {
    const rack = store.racks.get(name);
    const found = rack?.stacks.find((one) => one.name === stack);
    if (!found) throw new NotFoundError(`no stack ${name}/${stack}`);
    return circuit(found.outlet, slotsOf(name, found), `stack ${name}/${stack}`, rack);
  };

  /** Runs after everything asked of the same outlet before. */
  const inTurn = <T>({ key }: Circuit, work: () => Promise<T>): Promise<T> => {
    const turn = (queues.get(key) ?? Promise.resolve()).then(work, work);
    const settled = turn.catch(() => undefined);
    queues.set(key, settled);
    void settled.then(() => {
      if (queues.get(key) === settled) queues.delete(key);
    });
    return turn;
  };

  const withinTime = async <T>(
    name: string,
    limit: Milliseconds,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> => {
    const late = new AbortController();
    const done = new AbortController();
    const timeout = clock.sleep(limit, done.signal).then(() => {
      if (done.signal.aborted) return new Promise<never>(() => undefined);
      late.abort();
      throw new PowerUnreachableError(`${name} did not answer in ${limit / 1000} s`);
    });
    try {
      return await Promise.race([work(late.signal), timeout]);
    } finally {
      done.abort();
    }
  };

  /** In turn with other questions to the same device; what a retry can help is tried again. */
  const ask = <T>(line: Circuit, question: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    const { driver, settings, key, name } = line;
    return devices.pass(driver.deviceOf?.(settings) ?? key, () =>
      withinTime(name, answerWithin, async (signal) => {
        for (const wait of retryAfter) {
          try {
            return await question(signal);
          } catch (error) {
            const canHelp = error instanceof ProvisionError && error.retryable;
            if (!canHelp || signal.aborted) throw error;
            log.info({ err: error, outlet: name }, "power question is tried again");
            await clock.sleep(wait, signal);
          }
        }
        return await question(signal);
      }),
    );
  };

  const query = (line: Circuit): Promise<PowerState> =>
    ask(line, (signal) => line.driver.query(line.settings, signal));

  /** What the outlet says once it had time to follow; `wanted` where it cannot say. */
  const readBack = async (line: Circuit, wanted: "on" | "off"): Promise<"on" | "off"> => {
    if (!line.driver.canQuery) return wanted;
    const until = clock.monotonic() + line.driver.settleTime;
    for (;;) {
      const state = await query(line);
      if (state === wanted || state === "unknown") return wanted;
      if (clock.monotonic() >= until) return state;
      await clock.sleep(readBackPeriod);
    }
  };

  /** @throws PowerStuckError when it said yes and did not do it, twice. */
  const order = async (line: Circuit, state: "on" | "off"): Promise<void> => {
    let reached = state;
    for (let count = 0; count < orders; count++) {
      await ask(line, (signal) => line.driver.set(line.settings, state, signal));
      reached = await readBack(line, state);
      if (reached === state) return;
    }
    throw new PowerStuckError(
      `${line.name} (${line.driver.kind}) was switched ${state} and is still ${reached}`,
      reached,
    );
  };

  const publish = ({ slots }: Circuit, state: PowerState, failure?: unknown): void => {
    const reason = failure instanceof Error ? failure.message : String(failure);
    const outcome = failure === undefined ? { ok: true } : { ok: false, reason };
    for (const slot of slots) events.publish({ topic: "power", slot, state, ...outcome });
  };

  const drain = async (line: Circuit): Promise<void> => {
    const since = offSince.get(line.key);
    if (since === undefined) return;
    const left = line.minimumOffTime - (clock.monotonic() - since);
    if (left > 0) await clock.sleep(milliseconds(left));
  };

  const switchTo = async (line: Circuit, state: "on" | "off", who: string): Promise<void> => {
    const target = line.slots.map(slotText).join(" ");
    store.audit.append({ at: clock.now(), who, what: `power ${state}`, target });
    try {
      if (state === "on") {
        await drain(line);
        await line.sequencer?.turn(line.slots.length);
        await sequencer.turn(line.slots.length);
      }
      await order(line, state);
    } catch (error) {
      log.warn({ err: error, slots: target, state }, "power command failed");
      publish(line, error instanceof PowerStuckError ? error.state : "unknown", error);
      throw error;
    }
    if (state === "off") offSince.set(line.key, clock.monotonic());
    else offSince.delete(line.key);
    log.info({ slots: target, state, who }, "power switched");
    publish(line, state);
  };

  /** @throws PowerRefusedError when switching off would take neighbours down. */
  const alone = (ref: SlotRef): Circuit => {
    const line = circuitOfSlot(ref);
    if (line.slots.length < 2) return line;
    throw new PowerRefusedError(
      `slot ${slotText(ref)} shares its outlet with ${line.slots.length - 1} others: switch the stack`,
    );
  };

  const off = async (
    line: Circuit,
    restart: boolean,
    who: string,
    fence?: () => void,
  ): Promise<void> => {
    await inTurn(line, async () => {
      fence?.();
      await switchTo(line, "off", who);
      if (restart) await switchTo(line, "on", who);
    });
  };

  return {
    async set(slot, state, who, fence) {
      const line = state === "off" ? alone(slot) : circuitOfSlot(slot);
      await inTurn(line, async () => {
        fence?.();
        await switchTo(line, state, who);
      });
    },
    async setStack(stack, state, who) {
      const line = circuitOfStack(stack);
      await inTurn(line, () => switchTo(line, state, who));
    },
    async cycle(slot, who, fence) {
      await off(alone(slot), true, who, fence);
    },
    async cut(slot, restart, who, fence) {
      await off(circuitOfSlot(slot), restart, who, fence);
    },
    slotsOn,
    async query(slot) {
      return await query(circuitOfSlot(slot));
    },
    async probe(outlet) {
      return await query(circuit(outlet, [], `driver ${outlet.driver}`));
    },
    outletOf(slot) {
      const found = find(slot);
      return found?.slot.outlet ?? found?.stack.outlet;
    },
  };
}

/** @throws PowerRefusedError: what was stored by an older version may not fit any more. */
function settingsOf(driver: AnyPowerDriver, { settings }: Outlet, what: string): unknown {
  try {
    return driver.parse(settings);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new PowerRefusedError(`outlet of ${what}: ${cause.message}`, { cause });
  }
}

/** What the outlet says, else its rack, else its driver. */
function minimumOffTimeOf(
  driver: AnyPowerDriver,
  settings: unknown,
  rack: Rack | undefined,
): Milliseconds {
  const own = (settings as { readonly offSeconds?: number }).offSeconds;
  const offSeconds = own ?? rack?.power?.offSeconds;
  return offSeconds === undefined ? driver.minimumOffTime : milliseconds(offSeconds * 1000);
}

function slotsOf(rack: string, stack: Stack): readonly SlotRef[] {
  return stack.slots.map((slot) => ({ rack, stack: stack.name, slot: slot.name }));
}
