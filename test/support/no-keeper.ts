/** For sightings in a test without a kernel's neighbour table. */

import type { NeighbourKeeper } from "../../server/dhcp/sightings.ts";

export const noKeeper: NeighbourKeeper = { keep: () => undefined, release: () => undefined };
