/** Windows, schedules, and when a job begins, over the API. */

import test, { type ExecutionContext } from "ava";
import { startTestServer, type TestServer, tokens } from "./support.ts";

const night = { effect: "allows", opens: "daily 02:00", minutes: 60, zone: "Europe/Madrid" };
const weekly = { at: "sun 03:00", zone: "UTC", kind: "reboot", selector: "all" };

async function start(t: ExecutionContext): Promise<TestServer> {
  const server = await startTestServer();
  t.teardown(server.close);
  return server;
}

async function call(
  server: TestServer,
  method: string,
  path: string,
  body?: object,
  ifMatch?: string,
) {
  const response = await server.fetch(`/api/v1${path}`, {
    method,
    token: tokens.admin,
    ...(ifMatch !== undefined && { headers: { "If-Match": ifMatch } }),
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return {
    tag: response.headers.get("ETag") ?? "",
    status: response.status,
    // biome-ignore lint/suspicious/noExplicitAny: a test reads what it expects
    body: text === "" ? undefined : (JSON.parse(text) as any),
  };
}

test("a window is planned, made, listed with its next openings, and removed", async (t) => {
  const server = await start(t);
  const planned = await call(server, "PUT", "/windows/night", { ...night, dryRun: true });
  t.is(planned.body.next.length, 5);
  t.is((await call(server, "GET", "/windows/night")).status, 404);
  const made = await call(server, "PUT", "/windows/night", night);
  t.like(made.body, { name: "night", ...night });
  t.deepEqual(made.body.next, planned.body.next);
  t.is((await call(server, "GET", "/windows")).body.items.length, 1);
  t.is((await call(server, "DELETE", "/windows/night")).status, 204);
  t.deepEqual((await call(server, "GET", "/windows")).body.items, []);
});

test("a window that is open says until when", async (t) => {
  const server = await start(t);
  const body = { ...night, opens: "* * * * *" };
  const { openUntil } = (await call(server, "PUT", "/windows/always", body)).body;
  t.true(openUntil > server.clock.now());
});

test("a window that something needs stays", async (t) => {
  const server = await start(t);
  await call(server, "PUT", "/windows/night", night);
  await call(server, "PUT", "/schedules/weekly", { ...weekly, window: "night" });
  const refused = await call(server, "DELETE", "/windows/night");
  t.is(refused.status, 409);
  t.is(refused.body.title, "schedule weekly needs window night");
});

const wrong = [
  ["PUT", "/windows/w", { ...night, opens: "never" }, /"never" is no recurrence/],
  ["PUT", "/windows/w", { ...night, zone: "Mars/Olympus" }, /is no time zone/],
  ["PUT", "/windows/w", { ...night, minutes: 0 }, /minutes/],
  ["PUT", "/schedules/s", { ...weekly, at: "0 0 31 2 *" }, /is no dayOfMonth/],
  ["PUT", "/schedules/s", { ...weekly, selector: "colour:red" }, /is no selector/],
  ["PUT", "/schedules/s", { ...weekly, window: "day" }, /no window "day"/],
  ["PUT", "/schedules/s", { ...weekly, rollout: { batch: "0.5" } }, /rollout/],
  [
    "POST",
    "/jobs",
    { kind: "reboot", selector: "all", when: { at: "soon" } },
    /"soon" is no time: write 2026-11-22 02:00/,
  ],
  [
    "POST",
    "/jobs",
    { kind: "reboot", selector: "all", when: { window: "day" }, dryRun: true },
    /no window "day"/,
  ],
  ["POST", "/jobs", { kind: "reboot", selector: "all", rollout: { canary: 0 } }, /rollout/],
] as const;
for (const [method, path, body, message] of wrong) {
  test(`refused with its reason: ${method} ${path} ${JSON.stringify(body)}`, async (t) => {
    const { status, body: problem } = await call(await start(t), method, path, body);
    t.is(status, 400);
    t.regex(`${problem.title} ${JSON.stringify(problem.errors)}`, message);
  });
}

test("a schedule is planned, made, paused, resumed, run and removed", async (t) => {
  const server = await start(t);
  const planned = await call(server, "PUT", "/schedules/weekly", { ...weekly, dryRun: true });
  t.is(planned.body.next.length, 5);
  t.is((await call(server, "GET", "/schedules/weekly")).status, 404);
  const { body } = await call(server, "PUT", "/schedules/weekly", weekly);
  t.like(body, { ...weekly, missed: "skip", overlap: "skip", isPaused: false, createdBy: "admin" });
  t.is(body.due, body.next[0]);
  t.true((await call(server, "POST", "/schedules/weekly/pause")).body.isPaused);
  t.false((await call(server, "POST", "/schedules/weekly/resume")).body.isPaused);
  const ran = await call(server, "POST", "/schedules/weekly/run");
  t.like(ran, { status: 202, body: { kind: "reboot", schedule: "weekly" } });
  t.is((await call(server, "DELETE", "/schedules/weekly")).status, 204);
  t.deepEqual((await call(server, "GET", "/schedules")).body.items, []);
  t.is((await call(server, "POST", "/schedules/weekly/run")).status, 404);
});

const changes = [
  ["/windows/night", night, { minutes: 90 }, { effect: "allows", minutes: 90 }],
  [
    "/schedules/weekly",
    { ...weekly, withinMinutes: 60, parameters: { warnSeconds: 5 } },
    { at: "sat 04:00", withinMinutes: null, rollout: { canary: 1 } },
    { at: "sat 04:00", parameters: { warnSeconds: 5 }, rollout: { canary: 1, failures: 0 } },
  ],
] as const;
for (const [path, document, patch, after] of changes) {
  test(`${path} is changed in part, and only as it was read`, async (t) => {
    const server = await start(t);
    await call(server, "PUT", path, document);
    const { tag } = await call(server, "GET", path);
    t.is((await call(server, "PATCH", path, { zone: "Nowhere/At-all" }, tag)).status, 400);
    t.is((await call(server, "PATCH", path, { colour: "red" }, tag)).status, 400);
    const tried = await call(server, "PATCH", path, { ...patch, dryRun: true }, tag);
    t.is(tried.status, 200);
    t.is((await call(server, "GET", path)).tag, tag, "a dry run changes nothing");
    const changed = await call(server, "PATCH", path, patch, tag);
    t.like(changed.body, after);
    t.is(changed.body.withinMinutes, undefined);
    t.not(changed.tag, tag);
    for (const method of ["PATCH", "PUT", "DELETE"]) {
      const body = { PATCH: patch, PUT: document, DELETE: undefined }[method];
      const refused = await call(server, method, path, body, tag);
      t.is(refused.status, 412, method);
      t.regex(refused.body.title, /was changed meanwhile: read it again/);
    }
    t.is((await call(server, "DELETE", path, undefined, changed.tag)).status, 204);
    t.is((await call(server, "PUT", path, document, "*")).status, 412);
  });
}

test("what a schedule does by itself is no change of it", async (t) => {
  const server = await start(t);
  const { tag } = await call(server, "PUT", "/schedules/weekly", weekly);
  await call(server, "POST", "/schedules/weekly/pause");
  t.is((await call(server, "PATCH", "/schedules/weekly", { at: "sat 04:00" }, tag)).status, 200);
});

test("the calendar has windows, blackouts, schedules and jobs of the days asked for", async (t) => {
  const server = await start(t);
  await call(server, "PUT", "/windows/night", { ...night, zone: "UTC" });
  await call(server, "PUT", "/windows/fair", {
    ...{ effect: "forbids", opens: "sat 12:00", minutes: 30, zone: "Asia/Tokyo" },
  });
  await call(server, "PUT", "/schedules/weekly", weekly);
  await call(server, "PUT", "/schedules/paused", weekly);
  await call(server, "POST", "/schedules/paused/pause");
  const { body } = await call(server, "GET", "/calendar?days=7");
  const count = (kind: string) =>
    body.entries.filter((entry: { kind: string }) => entry.kind === kind).length;
  t.is(count("window"), 7);
  t.is(count("blackout"), 1);
  t.is(count("schedule"), 1);
  t.true(body.isWhole);
  const fair = body.entries.find(({ name }: { name: string }) => name === "fair");
  t.is(fair.until - fair.at, 30 * 60_000);
  t.like(fair, { zone: "Asia/Tokyo" });
  t.is((await call(server, "GET", "/calendar?days=32")).status, 400);
});

test("schedules are paged by name", async (t) => {
  const server = await start(t);
  for (const name of ["c", "a", "b"]) await call(server, "PUT", `/schedules/${name}`, weekly);
  const { body } = await call(server, "GET", "/schedules?limit=2");
  t.deepEqual([body.items[0].name, body.items[1].name, body.next], ["a", "b", "b"]);
  const rest = await call(server, "GET", "/schedules?limit=2&after=b");
  t.deepEqual([rest.body.items[0].name, rest.body.next], ["c", undefined]);
});

test("the plan of a job tells its batches, and what it waits for", async (t) => {
  const server = await start(t);
  const plan = await call(server, "POST", "/jobs", {
    kind: "reboot",
    selector: "stack:lab/a",
    rollout: { canary: 1, batch: "50%" },
    when: { at: "2030-01-01 02:00", zone: "Europe/Madrid" },
    dryRun: true,
  });
  t.is(plan.status, 200);
  t.is(plan.body.waitsFor, "begins Tue 2030-01-01 02:00 CET");
  t.deepEqual(
    plan.body.nodes.map(({ batch }: { batch: number }) => batch),
    [1, 2, 2, 3],
  );
  t.deepEqual(server.calls, []);
});

test("a job is paused, resumed and tried again, and one node is left out, over the API", async (t) => {
  const server = await start(t);
  const { body: job } = await call(server, "POST", "/jobs", {
    kind: "reboot",
    selector: "stack:lab/a",
    why: "kernel update",
  });
  t.is(job.why, "kernel update");
  t.is((await call(server, "POST", `/jobs/${job.id}/pause`, { reason: "lunch" })).status, 200);
  t.is((await call(server, "POST", `/jobs/${job.id}/resume`)).status, 200);
  t.is((await call(server, "POST", `/jobs/${job.id}/retry`)).status, 202);
  t.is((await call(server, "POST", "/tasks/task_1_node_a1/cancel")).status, 202);
  t.deepEqual(server.calls.slice(1), [
    `pause ${job.id} by admin: lunch`,
    `resume ${job.id} by admin`,
    `retry ${job.id} by admin`,
    "cancel task_1_node_a1 by admin",
  ]);
});
