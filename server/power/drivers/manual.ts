/** A node with no switched outlet: a person is the power driver, and is told what to do. */

import { milliseconds } from "#protocol/brand.ts";
import { PowerRefusedError } from "../../errors.ts";
import type { PowerDriver } from "../driver.ts";

export interface ManualSettings {
  /** Where the switch is, for the person: `breaker 3, left door`. */
  readonly note?: string;
}

export const manualDriver: PowerDriver<ManualSettings> = {
  kind: "manual",
  minimumOffTime: milliseconds(0),

  parse(settings) {
    const { note, ...others } = asObject(settings);
    const [other] = Object.keys(others);
    if (other !== undefined) throw new RangeError(`settings have no member ${other}`);
    if (note === undefined) return {};
    if (typeof note !== "string") throw new RangeError("note is not a text");
    return { note };
  },

  set({ note }, state) {
    const where = note === undefined ? "" : ` (${note})`;
    return Promise.reject(
      new PowerRefusedError(`this outlet is switched by hand: please switch it ${state}${where}`),
    );
  },

  query: () => Promise.resolve("unknown"),
};

/** @throws RangeError */
function asObject(settings: unknown): Readonly<Record<string, unknown>> {
  if (settings !== null && typeof settings === "object" && !Array.isArray(settings)) {
    return settings as Readonly<Record<string, unknown>>;
  }
  throw new RangeError("settings are not written as members");
}
