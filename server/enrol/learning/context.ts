/** What learning needs of the other rooms. */

import type { MacAddress } from "#protocol/brand.ts";
import type { Rack } from "#protocol/rack.ts";
import type { Clock } from "../../clock.ts";
import type { Subnet } from "../../config.ts";
import type { EventBus } from "../../events.ts";
import type { Leases } from "../../lease/leases.ts";
import type { Log } from "../../log.ts";
import type { Nodes } from "../../node/nodes.ts";
import type { Power } from "../../power/power.ts";
import type { Store } from "../../store/store.ts";
import type { Windows } from "../token.ts";

export interface LearningContext {
  readonly store: Pick<
    Store,
    "racks" | "reservations" | "nodes" | "tasks" | "learnings" | "transaction"
  >;
  readonly nodes: Pick<Nodes, "place" | "update" | "retire">;
  readonly leases: Pick<Leases, "reserve" | "forget" | "reservationOf">;
  readonly power: Pick<Power, "set" | "setStack" | "query" | "outletOf">;
  readonly windows: Pick<Windows, "open">;
  readonly events: EventBus;
  readonly clock: Clock;
  readonly log: Log;
  readonly subnets: readonly Subnet[];
  /** Ports, as the rack file names them, where these hang now; absent: nobody can say. */
  readonly locate?: (
    rack: Rack,
    macs: readonly MacAddress[],
    signal: AbortSignal,
  ) => Promise<ReadonlyMap<MacAddress, string>>;
}
