/** What jobs stand on where a test is about something else: no outlet, no window, no image, no SSH. */

import type { JobsContext } from "../../server/job/jobs.ts";

export const noPower: Pick<
  JobsContext,
  | "power"
  | "windows"
  | "images"
  | "captures"
  | "bootUrlFor"
  | "shellOf"
  | "authorizedKeys"
  | "commands"
  | "probe"
> = {
  power: {
    set: async () => undefined,
    cycle: async () => undefined,
    cut: async () => undefined,
    slotsOn: (slot) => [slot],
    query: async () => "unknown",
    outletOf: () => undefined,
  },
  windows: { open: () => undefined },
  images: { get: () => undefined, pathOf: () => "" },
  captures: { takeIn: async () => undefined },
  bootUrlFor: () => "http://10.77.0.1:8080",
  shellOf: () => Promise.reject(new Error("no SSH here")),
  authorizedKeys: [],
  commands: {},
  probe: async () => undefined,
};
