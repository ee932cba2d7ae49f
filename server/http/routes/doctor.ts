/** What is wrong with the server's machine and its networks. */

import { Type } from "typebox";
import { type Instant, type Milliseconds, milliseconds } from "#protocol/brand.ts";
import type { Finding } from "#protocol/timeline.ts";
import type { RecordedServer } from "../../doctor/check.ts";
import { type Examination, examine } from "../../doctor/doctor.ts";
import { createMachine } from "../../doctor/machine.ts";
import { TooManyRequestsError } from "../../errors.ts";
import { type Route, route } from "../route.ts";
import { findingSchema } from "../schemas.ts";
import type { Admin } from "../services.ts";

const listenByDefault: Milliseconds = milliseconds(5000);
/** Other servers are told of when they are first heard; this long it counts. */
const recorded = 3_600_000;

/** One at a time: each listens on every interface. */
const running = new WeakSet<object>();

export const doctorRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/doctor",
    role: "admin",
    name: "get-doctor",
    summary:
      "What is wrong with the server's machine and its networks; takes as long as it listens",
    query: Type.Object(
      { listenSeconds: Type.Optional(Type.Number({ minimum: 0, maximum: 300 })) },
      { additionalProperties: false },
    ),
    response: Type.Object({
      isHealthy: Type.Boolean(),
      checks: Type.Array(Type.Object({ name: Type.String(), findings: Type.Array(findingSchema) })),
    }),
    handler: async ({ query, koa }, admin) => {
      const { listenSeconds } = query;
      if (running.has(admin.store)) throw new TooManyRequestsError("the doctor is at work already");
      running.add(admin.store);
      const left = new AbortController();
      koa.res.once("close", () => left.abort()); // nobody waits for the answer any more
      try {
        return await examineHere(
          admin,
          listenSeconds === undefined ? listenByDefault : milliseconds(listenSeconds * 1000),
          left.signal,
        );
      } finally {
        running.delete(admin.store);
      }
    },
  }),
];

async function examineHere(
  admin: Admin,
  listen: Milliseconds,
  signal: AbortSignal,
): Promise<Examination> {
  const { config, clock, log } = admin;
  const { isHealthy, checks } = await examine({
    config,
    clock,
    log,
    listen,
    signal,
    machine: createMachine(),
    server: { kind: "this", heard: recordedServers(admin) },
  });
  const racks = rackFindings(admin);
  return {
    isHealthy: isHealthy && racks.every(({ severity }) => severity !== "problem"),
    checks: [...checks, { name: "racks", findings: racks }],
  };
}

function rackFindings({ racks }: Admin): readonly Finding[] {
  const found = racks.findings();
  const count = racks.list().length;
  if (found.length > 0 || count === 0) return found;
  return [{ code: "racks-fit", severity: "ok", text: `${count} racks fit the configured subnets` }];
}

function recordedServers({ store, config, clock, eventLog }: Admin): readonly RecordedServer[] {
  eventLog.lastId(); // writes what waits to be written
  const interfaces = [...new Set(config.subnets.map((subnet) => subnet.interface))];
  return store.events
    .about(interfaces, (clock.now() - recorded) as Instant, 100)
    .flatMap(({ event }) => (event.topic === "rogue-server" ? [event] : []));
}
