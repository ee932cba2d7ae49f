/** What must hold of nodes after their batch, and what becomes of a roll-out when it does not. */

import test from "ava";
import type { JobId } from "#protocol/brand.ts";
import type { Job, Rollout } from "#protocol/job.ts";
import { InvalidInputError } from "../../server/errors.ts";
import { parseHealthCheck } from "../../server/job/health.ts";
import { type Crew, createCrew } from "./crew.ts";

const start = "2026-11-21T12:00:00Z";
const usual: Rollout = { canary: 1, failures: 0, settleSeconds: 30 };
const port: Rollout = { ...usual, health: ["online", "port:22"] };
const ready: Rollout = { ...usual, health: ["ready"] };

const written = [
  ["online", { check: "online" }],
  ["port:22", { check: "port", port: 22 }],
  ["http:8080/ready?full=1", { check: "http", port: 8080, path: "/ready?full=1" }],
  ["http:80", { check: "http", port: 80, path: "/" }],
  ["web-ready", { check: "command", command: "web-ready" }],
] as const;
for (const [text, expected] of written) {
  test(`${text} is a check`, (t) => t.deepEqual(parseHealthCheck(text) as object, expected));
}

for (const text of ["", "port", "port:0", "port:65536", "port:22/x", "http:80/a b", "Web", "a b"]) {
  const isName = text === "port"; // a command may be called so
  test(`${JSON.stringify(text)} is ${isName ? "a command's name" : "no check"}`, (t) => {
    if (isName) t.is(parseHealthCheck(text).check, "command");
    else t.throws(() => parseHealthCheck(text), { instanceOf: InvalidInputError });
  });
}

const refused = [
  ["a command that is not configured", { health: ["nobody"] }, {}, /no command "nobody"/],
  ["a command that wants values", { health: ["apt-install"] }, {}, /needs the value package/],
  ["nothing at all", { health: [] }, {}, /rollout\/health/],
  ["nodes that will be off", { health: ["online"] }, { kind: "shutdown" }, /off after shutdown/],
] as const;
for (const [title, rollout, request, message] of refused) {
  test(`refused: ${title}`, async (t) => {
    const crew = await createCrew();
    t.throws(() => crew.reboot({ rollout: { ...usual, ...rollout }, ...request } as never), {
      instanceOf: InvalidInputError,
      message,
    });
  });
}

/** The canary, a1, has rebooted and had its time to settle. */
async function settled(rollout: Rollout): Promise<{ crew: Crew; job: Job }> {
  const crew = await createCrew({ a: 3 }, start);
  const job = crew.reboot({ rollout });
  await crew.obey("a1");
  await crew.pass(45);
  return { crew, job };
}

test("a canary whose port is open lets the rest begin, and the job says what was found", async (t) => {
  const { crew, job } = await settled(port);
  await crew.pass(3);
  t.is(crew.shown(job), "a1 done, a2 running, a3 running");
  t.like(crew.job(job).health, { batch: 0, healthy: 1, of: 1, jobs: [] });
  t.deepEqual(crew.probes, ["a1:22"]);
});

test("a canary whose port is shut has failed after all; the rest is untouched", async (t) => {
  const crew = await createCrew({ a: 3 }, start);
  crew.shut.add("a1");
  const job = crew.reboot({ rollout: { ...port, failures: 2 } });
  await crew.obey("a1");
  await crew.pass(20);
  t.is(crew.shown(job), "a1 done, a2 waiting, a3 waiting");
  t.is(crew.job(job).waitsFor, "the canary to settle until 12:00:30 UTC");
  await crew.pass(60);
  t.is(crew.shown(job), "a1 failed, a2 waiting, a3 waiting");
  t.is(
    crew.task(job, "a1").reason,
    "done, but then not healthy: port:22 of a1: connection refused",
  );
  t.is(crew.job(job).paused?.reason, "1 of 1 canary nodes failed");
  t.deepEqual(["a1", "a2", "a3"].map(crew.boots), [2, 1, 1]);
});

test("resumed after that, the rest goes on, and is asked itself; what failed is tried again", async (t) => {
  const crew = await createCrew({ a: 3 }, start);
  crew.shut.add("a1");
  const job = crew.reboot({ rollout: port });
  await crew.obey("a1");
  await crew.pass(60);
  crew.jobs.resume(job.id, "ada");
  await crew.pass(1);
  await crew.obey("a2", "a3");
  await crew.pass(15);
  t.is(crew.job(job).state, "running", "its last batch settles");
  await crew.pass(45);
  t.like(crew.job(job), { state: "failed", health: { batch: 1, healthy: 2, of: 2 } });
  crew.shut.clear();
  const again = crew.jobs.retry(job.id, "ada");
  await crew.pass(1);
  t.is(crew.shown(again), "a1 running");
});

test("nodes that are not healthy count against the budget", async (t) => {
  const crew = await createCrew({ a: 4 }, start);
  crew.shut.add("a1");
  const job = crew.reboot({
    rollout: { batch: 2, failures: 1, settleSeconds: 0, health: ["port:22"] },
  });
  await crew.obey("a1", "a2");
  await crew.pass(15);
  t.is(crew.shown(job), "a1 failed, a2 done, a3 running, a4 running");
  t.is(crew.job(job).paused, undefined);
});

test("a command is run on the nodes of the batch; one that succeeds lets the rest begin", async (t) => {
  const { crew, job } = await settled(ready);
  const [asking] = crew.job(job).health?.jobs ?? [];
  t.like(crew.store.jobs.get(asking as JobId), {
    kind: "run",
    parameters: { argv: ["check-ready"], command: "ready", timeoutSeconds: 60 },
    createdBy: "ada",
    healthOf: job.id,
    selector: `the canary of ${job.id}`,
  });
  t.is(crew.job(job).waitsFor, "the canary to be found healthy: ready");
  await crew.succeed("a1");
  await crew.pass(1);
  t.like(crew.job(job).health, { batch: 0, healthy: 1, of: 1, jobs: [asking] });
  await crew.pass(1);
  t.is(crew.shown(job), "a1 done, a2 running, a3 running");
});

test("a command that fails stops the roll-out, over a restart of the server too", async (t) => {
  const before = await settled(ready);
  const crew = await before.crew.restart();
  await crew.pass(1);
  await crew.fail("a1");
  await crew.pass(3);
  t.is(crew.shown(before.job), "a1 failed, a2 waiting, a3 waiting");
  t.is(crew.task(before.job, "a1").reason, "done, but then not healthy: ready: no reboot for me");
  t.is(crew.store.jobs.list({ limit: 9 }).length, 2, "the command was begun once");
  t.is(crew.job(before.job).paused?.reason, "1 of 1 canary nodes failed");
});

test("a server that is started anew asks again what it had no answer to", async (t) => {
  const before = await settled({ ...port, settleSeconds: 60 });
  t.deepEqual(before.crew.probes, []);
  before.crew.shut.add("a1");
  const crew = await before.crew.restart(300);
  await crew.pass(3, ["a2"]);
  t.deepEqual(crew.probes, ["a1:22"]);
  await crew.pass(1);
  t.is(crew.shown(before.job), "a1 failed, a2 waiting, a3 waiting");
});

test("the last batch is asked before the job ends; a job that is cancelled meanwhile ends at once", async (t) => {
  const crew = await createCrew({ a: 2 }, start);
  const jobs = [1, 2].map(() => crew.reboot({ rollout: { ...ready, batch: 1 } }));
  const [kept, ended] = jobs as [Job, Job];
  crew.jobs.cancel(ended.id, "ada");
  await crew.obey("a1");
  await crew.pass(45);
  await crew.succeed("a1");
  await crew.pass(2);
  await crew.obey("a2");
  t.is(crew.job(kept).state, "running");
  await crew.pass(45);
  const asking = crew.job(kept).health?.jobs[0] as JobId;
  t.is(crew.store.jobs.get(asking)?.state, "running");
  crew.jobs.cancel(kept.id, "ada");
  t.is(crew.job(kept).state, "cancelled");
  t.is(crew.store.jobs.get(asking)?.state, "cancelled");
});

test("nodes are asked though the window has closed meanwhile", async (t) => {
  const crew = await createCrew({ a: 2 }, start);
  crew.store.windows.put({
    name: "noon",
    effect: "allows",
    opens: "daily 12:00",
    minutes: 1,
    zone: "UTC",
  });
  const job = crew.reboot({ window: "noon", rollout: { ...port, settleSeconds: 120 } });
  await crew.obey("a1");
  await crew.pass(150);
  t.is(crew.shown(job), "a1 done, a2 waiting");
  t.like(crew.job(job), { health: { batch: 0, healthy: 1, of: 1 } });
  t.is(crew.job(job).waitsFor, "window noon opens Sun 2026-11-22 12:00 UTC");
});

test("a command that the configuration no longer has pauses the roll-out and says so", async (t) => {
  const crew = await createCrew({ a: 2 }, start);
  const job = crew.reboot({ rollout: ready });
  const stored = crew.job(job);
  crew.store.jobs.put({ ...stored, rollout: { ...ready, health: ["gone"] } } as Job);
  await crew.obey("a1");
  await crew.pass(60);
  t.is(crew.job(job).paused?.reason, 'no command "gone"; configured: ready, apt-install');
  t.is(crew.shown(job), "a1 done, a2 waiting");
});

test("a schedule that asks for what nobody configured is refused when it is made", async (t) => {
  const crew = await createCrew();
  const weekly = {
    ...({ name: "weekly", at: "sun 03:00", zone: "UTC", kind: "reboot", selector: "all" } as const),
    ...({ parameters: {}, missed: "skip", overlap: "skip" } as const),
  };
  const plan = (health: readonly string[]) =>
    crew.schedules.plan({ ...weekly, rollout: { ...usual, health } }, "ada");
  t.throws(() => plan(["nobody"]), {
    instanceOf: InvalidInputError,
    message: /no command "nobody"/,
  });
  t.deepEqual(plan(["ready"]).rollout?.health, ["ready"]);
});
