/** Switches the groups of a rack, and finds out what is wrong with an outlet that does not follow. */

import type { LearningGroup, OutletFault } from "#protocol/learning.ts";
import type { PowerState, SlotRef } from "#protocol/node.ts";
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
