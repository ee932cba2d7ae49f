/** A node with no switched outlet: a person is the power driver, and is told what to do. */

import { Type } from "typebox";
import { milliseconds } from "#protocol/brand.ts";
import { PowerRefusedError } from "../../errors.ts";
import { definePowerDriver, type SettingsOf } from "../driver.ts";

const members = {
  note: Type.Optional(
    Type.String({ description: "where the switch is, for the person", examples: ["breaker 3"] }),
  ),
};
export type ManualSettings = SettingsOf<typeof members>;

export const manualDriver = definePowerDriver({
  kind: "manual",
  about: "no switched outlet: a person is told what to switch",
  settings: members,
  canQuery: false,
  minimumOffTime: milliseconds(0),

  set({ note }, state) {
    const where = note === undefined ? "" : ` (${note})`;
    return Promise.reject(
      new PowerRefusedError(`this outlet is switched by hand: please switch it ${state}${where}`),
    );
  },

  query: () => Promise.resolve("unknown"),
});
