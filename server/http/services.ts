/** What the admin listener is given by the composition root, and what it adds for its routes. */

import type { Registry } from "prom-client";
import type { Library } from "../../images/library.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Site } from "../enrol/authority.ts";
import type { Learning } from "../enrol/learning/learning.ts";
import type { Windows } from "../enrol/token.ts";
import type { EventBus } from "../events.ts";
import type { Jobs } from "../job/jobs.ts";
import type { Schedules } from "../job/schedules.ts";
import type { Leases } from "../lease/leases.ts";
import type { Log } from "../log.ts";
import type { Nodes } from "../node/nodes.ts";
import type { Watching } from "../node/watching.ts";
import type { Notifier } from "../notify/notifier.ts";
import type { Power } from "../power/power.ts";
import type { Racks } from "../rack/racks.ts";
import type { Rules } from "../rule/rules.ts";
import type { Store } from "../store/store.ts";
import type { Accounts } from "./auth.ts";
import type { EventLog } from "./event-log.ts";
import type { Idempotency } from "./idempotency.ts";
import type { Users } from "./users.ts";

/** Only the members that routes call: a test passes no more than these. */
export interface Services {
  readonly config: Config;
  readonly store: Store;
  readonly site: Pick<Site, "serverKey" | "keyId" | "authorityPem">;
  readonly nodes: Pick<
    Nodes,
    "get" | "list" | "update" | "approve" | "revoke" | "retire" | "protectDisk"
  >;
  readonly watching: Pick<Watching, "follow">;
  readonly leases: Pick<Leases, "list" | "forget">;
  readonly jobs: Pick<Jobs, "create" | "cancel" | "cancelTask" | "pause" | "resume" | "retry">;
  readonly schedules: Pick<Schedules, "plan" | "put" | "remove" | "setPaused" | "run">;
  readonly power: Pick<Power, "set" | "cut" | "slotsOn" | "query">;
  readonly racks: Racks;
  readonly learning: Learning;
  readonly rules: Pick<Rules, "list" | "add" | "remove" | "try">;
  readonly library: Pick<Library, "add" | "get" | "list" | "remove">;
  readonly windows: Pick<Windows, "approve">;
  readonly notifier: Pick<Notifier, "channels" | "test">;
  readonly events: EventBus;
  readonly clock: Clock;
  readonly log: Log;
  /** Served at /metrics. */
  readonly metrics: Pick<Registry, "metrics" | "contentType">;
}

export interface Admin extends Services {
  readonly accounts: Accounts;
  readonly users: Users;
  readonly eventLog: EventLog;
  readonly idempotency: Idempotency;
}
