/**
 * Live state: a snapshot, and the stream that continues it (server-sent events).
 *
 *   GET /api/v1/snapshot            -> {lastEventId, racks, nodes, jobs, tasks, images, …}
 *   GET /api/v1/events?after=<id>   -> id: 17 / data: {"id":17,"at":…,"event":{"topic":"node",…}}
 *
 * A browser resumes with `Last-Event-ID`. `event: reset` says that the journal
 * no longer holds what was missed: take a new snapshot.
 */

import type { Context } from "koa";
import { Type } from "typebox";
import type { EventTopic, StoredEvent } from "#protocol/events.ts";
import { InvalidInputError } from "../../errors.ts";
import { withoutSettings } from "../rack-view.ts";
import { type Route, route } from "../route.ts";
import { imageSchema, jobSchema, nodeSchema, rackSchema, taskSchema } from "../schemas.ts";
import type { Admin } from "../services.ts";
import { openStream } from "../streams.ts";

const topics = Object.keys({
  node: true,
  job: true,
  task: true,
  "task-log": true,
  lease: true,
  heard: true,
  dhcp: true,
  "rogue-server": true,
  netconsole: true,
  "boot-file": true,
  power: true,
  enrolment: true,
  learning: true,
  alarm: true,
  hardware: true,
} satisfies Record<EventTopic, true>);
const jobsInSnapshot = 30;

function topicsOf(text: string | undefined): ReadonlySet<string> | undefined {
  if (text === undefined || text === "") return undefined;
  const wanted = text.split(",");
  const unknown = wanted.find((topic) => !topics.includes(topic));
  if (unknown !== undefined) {
    throw new InvalidInputError(`no topic ${JSON.stringify(unknown)}: ${topics.join(" ")}`);
  }
  return new Set(wanted);
}

/** @returns the id to go on after; without one, only what happens from now on. */
function startOf(koa: Context, after: number | undefined, lastId: number): number {
  const header = koa.get("Last-Event-ID");
  if (header === "") return after ?? lastId;
  if (!/^\d{1,15}$/.test(header)) {
    throw new InvalidInputError(`Last-Event-ID ${JSON.stringify(header)} is not a number`);
  }
  return Number(header);
}

function startStream(koa: Context, query: { topics?: string; after?: number }, admin: Admin): void {
  const { eventLog } = admin;
  const wanted = topicsOf(query.topics);
  const lastId = eventLog.lastId();
  let position = startOf(koa, query.after, lastId);
  const stream = openStream(koa, admin);
  const send = ({ id, at, event }: StoredEvent): void => {
    position = id;
    if (wanted && !wanted.has(event.topic)) return;
    stream.write(`id: ${id}\ndata: ${JSON.stringify({ id, at, event })}\n\n`);
  };
  const [oldest] = eventLog.since(0, 1);
  const isLost = position > lastId || (oldest !== undefined && position < oldest.id - 1);
  if (isLost) {
    position = lastId;
    stream.write(`id: ${lastId}\nevent: reset\ndata: {}\n\n`);
  }
  for (;;) {
    const missed = eventLog.since(position, 500);
    if (missed.length === 0 || !stream.isOpen) break;
    for (const event of missed) send(event);
  }
  // Same tick as the last `since`: nothing can be written in between.
  const stop = eventLog.follow((event) => {
    if (event.id > position) send(event);
  });
  stream.onClose(stop);
}

export const eventRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/snapshot",
    role: "viewer",
    name: "get-snapshot",
    summary: "Everything the rack page shows, and the event id it is from",
    response: Type.Object({
      lastEventId: Type.Integer(),
      now: Type.Number(),
      racks: Type.Array(rackSchema),
      nodes: Type.Array(nodeSchema),
      jobs: Type.Array(jobSchema),
      tasks: Type.Array(taskSchema),
      images: Type.Array(imageSchema),
    }),
    handler: (_request, { eventLog, store, nodes, library, clock }) => {
      const lastEventId = eventLog.lastId();
      const jobs = store.jobs.list({ limit: jobsInSnapshot });
      return {
        lastEventId,
        now: clock.now(),
        racks: store.racks.list().map(withoutSettings),
        nodes: nodes.list(),
        jobs,
        tasks: jobs.flatMap((job) => store.tasks.ofJob(job.id)),
        images: library.list(),
      };
    },
  }),
  route({
    method: "get",
    path: "/api/v1/events",
    role: "viewer",
    name: "stream-events",
    summary: "What happens, as it happens",
    query: Type.Object(
      {
        topics: Type.Optional(Type.String({ maxLength: 200 })),
        after: Type.Optional(Type.Integer({ minimum: 0 })),
      },
      { additionalProperties: false },
    ),
    responseType: "text/event-stream",
    handler: ({ koa, query }, admin) => startStream(koa, query, admin),
  }),
];
