/** Switches the groups of a rack, and finds out what is wrong with an outlet that does not follow. */

import { milliseconds } from "#protocol/brand.ts";
import type { LearningGroup, OutletFault } from "#protocol/learning.ts";
import type { PowerState, SlotRef } from "#protocol/node.ts";
import type { Clock } from "../../clock.ts";
import { PowerStuckError } from "../../errors.ts";
import type { Power } from "../../power/power.ts";
import { isShared, nameOf, refsOf } from "./groups.ts";

export interface Fault {
  readonly reason: OutletFault;
  readonly text: string;
}

export interface Outlets {
  /** Undefined when it did as it was told, or cannot say otherwise. */
  set(group: LearningGroup, state: "on" | "off"): Promise<Fault | undefined>;
  /** `unknown` where it cannot be asked or does not answer. */
  query(group: LearningGroup): Promise<PowerState>;
}

export function createOutlets(
  power: Pick<Power, "set" | "setStack" | "query">,
  rack: string,
  who: string,
): Outlets {
  const order = (group: LearningGroup, state: "on" | "off"): Promise<void> => {
    const slot = first(refsOf(rack, group));
    return isShared(group) ? power.setStack(slot, state, who) : power.set(slot, state, who);
  };

  const query = async (group: LearningGroup): Promise<PowerState> => {
    try {
      return await power.query(first(refsOf(rack, group)));
    } catch {
      return "unknown"; // what it was told is all that is known
    }
  };

  const afterOrder = async (group: LearningGroup, error: unknown): Promise<PowerState> =>
    error instanceof PowerStuckError ? error.state : await query(group);

  return {
    query,
    async set(group, state) {
      try {
        await order(group, state);
        return undefined;
      } catch (error) {
        const reached = await afterOrder(group, error);
        if (reached === state) return undefined;
        const message = error instanceof Error ? error.message : String(error);
        if (reached === "unknown") return { reason: "power", text: `outlet: ${message}` };
        const name = `outlet of ${rack}/${nameOf(group)}`;
        if (state === "on") {
          return { reason: "stuck-off", text: `${name} was switched on and stays off` };
        }
        if (await goesOffWhenSwitchedOn(group)) {
          return {
            reason: "inverted",
            text: `${name} is on when it is switched off, and off when switched on`,
          };
        }
        return { reason: "stuck-on", text: `${name} was switched off and stays on` };
      }
    },
  };

  async function goesOffWhenSwitchedOn(group: LearningGroup): Promise<boolean> {
    try {
      await order(group, "on");
      return false;
    } catch (error) {
      return (await afterOrder(group, error)) === "off";
    }
  }
}

function first(refs: readonly SlotRef[]): SlotRef {
  const [ref] = refs;
  if (!ref) throw new RangeError("a group without slots");
  return ref;
}

/** How often, and how long in all, an outlet that was switched on is asked whether it stays on. */
const watchPeriod = milliseconds(500);
const watchTime = 5000;

/** Asks outlets that were just switched on, until the signal. Never rejects. */
export async function watchOutlets(
  groups: ReadonlyMap<number, LearningGroup>,
  outlets: Outlets,
  watch: {
    readonly clock: Pick<Clock, "sleep">;
    readonly signal: AbortSignal;
    /** Told once for each that is off by itself. */
    onOff(index: number): void;
  },
): Promise<void> {
  const asked = new Map(groups);
  for (let time = 0; time < watchTime && asked.size > 0; time += watchPeriod) {
    const states = await Promise.all(
      [...asked].map(async ([index, group]) => [index, await outlets.query(group)] as const),
    );
    if (watch.signal.aborted) return;
    for (const [index, state] of states) {
      if (state !== "on") asked.delete(index);
      if (state === "off") watch.onOff(index);
    }
    await watch.clock.sleep(watchPeriod, watch.signal);
  }
}
