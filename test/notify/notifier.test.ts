/** What people are told, how often, and that nothing of it is lost. */

import test from "ava";
import type { NodeId } from "#protocol/brand.ts";
import type { Job } from "#protocol/job.ts";
import { occasions } from "#protocol/notice.ts";
import { exampleJob, exampleNode, exampleTask } from "../store/contract.ts";
import { openDesk } from "./support.ts";

const minute = 60_000;

test("a job that failed is told with each node's reason and what to do", async (t) => {
  const desk = openDesk();
  endJob(desk, "failed");
  await desk.clock.advance(minute);
  t.is(desk.messages.length, 1);
  const [notice] = desk.messages[0] ?? [];
  t.is(notice?.occasion, "job-failed");
  t.is(notice?.subject, "reboot of all (job_1) failed");
  t.regex(notice?.text ?? "", /2 nodes: 1 done, 1 failed\n {2}two: disk vda is full/);
  t.regex(notice?.text ?? "", /marcoboot job retry job_1/);
});

test("quiet: success, a cancelled job and other alarms are not told unless asked for", async (t) => {
  const quiet = openDesk();
  endJob(quiet, "done");
  quiet.events.publish({ topic: "alarm", text: "something" });
  await quiet.clock.advance(10 * minute);
  t.deepEqual(quiet.messages, []);

  const all = openDesk(occasions);
  endJob(all, "done");
  all.events.publish({ topic: "alarm", text: "something" });
  const asking = { ...endedJob("failed"), healthOf: "job_1" as Job["id"] };
  all.events.publish({ topic: "job", job: { ...asking, id: "job_8" as Job["id"] } });
  const job = endedJob("cancelled");
  all.events.publish({ topic: "job", job: { ...job, id: "job_9" as Job["id"] } });
  await all.clock.advance(10 * minute);
  t.deepEqual(
    all.messages.flat().map(({ occasion }) => occasion),
    ["job-done", "alarm"],
  );
});

test("a roll-out that pauses itself is told, one that a person paused is not", async (t) => {
  const desk = openDesk();
  const job = exampleJob("job_1");
  const at = desk.clock.now();
  desk.events.publish({
    topic: "job",
    job: { ...job, paused: { at, by: "ada", reason: "lunch" } },
  });
  await desk.clock.advance(minute);
  t.deepEqual(desk.messages, []);
  const paused = { at, by: "server", reason: "the canary failed" };
  desk.events.publish({ topic: "job", job: { ...job, paused } });
  await desk.clock.advance(minute);
  t.is(desk.messages[0]?.[0]?.subject, "reboot of all (job_1) is paused: the canary failed");
});

test("the same event said again is not told again, not even by another process", async (t) => {
  const desk = openDesk();
  endJob(desk, "failed");
  endJob(desk, "failed");
  await desk.clock.advance(minute);
  await desk.restart();
  endJob(desk, "failed");
  await desk.clock.advance(10 * minute);
  t.is(desk.messages.length, 1);
});

test("what came up within a minute is one message", async (t) => {
  const desk = openDesk(["alarm"]);
  desk.events.publish({ topic: "alarm", text: "first" });
  await desk.clock.advance(5000);
  for (const text of ["second", "third", "fourth"]) desk.events.publish({ topic: "alarm", text });
  await desk.clock.advance(2 * minute);
  t.deepEqual(
    desk.messages.map((message) => message.map(({ subject }) => subject)),
    [["first"], ["second", "third", "fourth"]],
  );
});

test("a server that was killed tells afterwards what it had kept, and what it had not", async (t) => {
  const desk = openDesk();
  desk.refusal = "the mail server is away";
  endJob(desk, "failed");
  await desk.clock.advance(5000);
  await desk.notifier.close();
  // Its last moment: the job's end was stored, the notice was not.
  const job = { ...endedJob("failed"), id: "job_2" as Job["id"], endedAt: desk.clock.now() };
  desk.store.jobs.put(job);
  desk.refusal = undefined;
  await desk.restart();
  await desk.clock.advance(10 * minute);
  t.deepEqual(
    desk.messages
      .flat()
      .map(({ subject }) => subject)
      .sort(),
    ["reboot of all (job_1) failed", "reboot of all (job_2) failed"],
  );
});

test("a channel that refuses is asked less and less often, then the notice is given up with its reason", async (t) => {
  const desk = openDesk();
  desk.refusal = "no such user";
  endJob(desk, "failed");
  await desk.clock.advance(5 * minute);
  const [waiting] = desk.store.notices.list(1);
  t.like(waiting, { failures: 2, reason: "no such user" });
  for (let hours = 0; hours < 48; hours++) await desk.clock.advance(60 * minute);
  const [given] = desk.store.notices.list(1);
  t.like(given, { failures: 7, nextAt: undefined, reason: "no such user" });
  desk.refusal = undefined;
  await desk.clock.advance(60 * minute);
  t.deepEqual(desk.messages, []);
});

test("a node that is silent for five minutes is lost: told once, again after it called", async (t) => {
  const desk = openDesk();
  const node = installedNode(desk, "one");
  desk.store.nodes.put(node);
  await desk.clock.advance(4 * minute);
  t.deepEqual(desk.messages, []);
  await desk.clock.advance(4 * minute);
  t.is(desk.messages[0]?.[0]?.subject, "node one does not call any more");
  await desk.restart();
  await desk.clock.advance(30 * minute);
  t.is(desk.messages.length, 1);

  desk.store.nodes.put({ ...node, connection: "online" });
  await desk.clock.advance(2 * minute);
  desk.store.nodes.put(installedNode(desk, "one"));
  await desk.clock.advance(10 * minute);
  t.is(desk.messages.length, 2);
});

test("many nodes at once are one notice; those switched off or at work are not lost", async (t) => {
  const desk = openDesk();
  for (let index = 0; index < 25; index++) desk.store.nodes.put(installedNode(desk, `n${index}`));
  desk.store.nodes.put({ ...installedNode(desk, "off"), power: "off" });
  desk.store.nodes.put({ ...installedNode(desk, "fresh"), state: "ready" });
  desk.store.nodes.put(installedNode(desk, "busy"));
  desk.store.jobs.put(exampleJob("job_1"));
  desk.store.tasks.put(exampleTask("task_1", "running", "node_busy"));
  await desk.clock.advance(10 * minute);
  t.is(desk.messages.length, 1);
  const [notice] = desk.messages[0] ?? [];
  t.is(notice?.subject, "25 nodes do not call any more");
  t.regex(notice?.text ?? "", /and 5 more/);
  t.notRegex(notice?.text ?? "", /off|fresh|busy/);
});

test("another DHCP server is told once a day", async (t) => {
  const desk = openDesk();
  const rogue = {
    topic: "rogue-server",
    interface: "eth1",
    kind: "dhcp",
    address: exampleAddress,
  } as const;
  for (let hours = 0; hours < 24; hours++) {
    desk.events.publish(rogue);
    await desk.clock.advance(60 * minute);
  }
  t.true(desk.messages.length >= 1 && desk.messages.length <= 2, `${desk.messages.length}`);
  t.is(desk.messages[0]?.[0]?.subject, "another DHCP server answers on eth1: 10.77.0.66");
});

test("a test message goes out at once, and its failure is told", async (t) => {
  const desk = openDesk();
  await desk.notifier.test("mail");
  t.is(desk.messages[0]?.[0]?.occasion, "test");
  desk.refusal = "no such user";
  await t.throwsAsync(desk.notifier.test("mail"), { message: "no such user" });
  await t.throwsAsync(desk.notifier.test("pager"), {
    message: /no channel pager; configured: mail/,
  });
});

type Desk = ReturnType<typeof openDesk>;
const exampleAddress = "10.77.0.66" as Extract<
  Parameters<Desk["events"]["publish"]>[0],
  { topic: "rogue-server" }
>["address"];

function endedJob(state: "done" | "failed" | "cancelled"): Job {
  return { ...exampleJob("job_1"), state, endedAt: exampleJob("job_1").createdAt };
}

/** A job of two nodes; the second failed. */
function endJob({ store, events }: Desk, state: "done" | "failed"): void {
  const job = endedJob(state);
  store.nodes.put(exampleNode());
  store.nodes.put(
    exampleNode({
      id: "node_2" as NodeId,
      name: "two",
      mac: "52:54:00:00:00:02" as ReturnType<typeof exampleNode>["mac"],
    }),
  );
  store.jobs.put(job);
  store.tasks.put(exampleTask("task_1", "done"));
  const second = exampleTask("task_2", state, "node_2");
  store.tasks.put(state === "failed" ? { ...second, reason: "disk vda is full" } : second);
  events.publish({ topic: "job", job });
}

function installedNode({ clock }: Desk, name: string) {
  const at = clock.now();
  return exampleNode({
    id: `node_${name}` as NodeId,
    name,
    mac: macOf(name),
    state: "installed",
    connection: "offline",
    agent: {
      role: "resident",
      version: "1",
      bootId: "b",
      hostname: name,
      address: exampleAddress,
      since: at,
      lastSeen: at,
    },
  });
}

function macOf(name: string): ReturnType<typeof exampleNode>["mac"] {
  const octets = Buffer.from(name.padEnd(5, "-")).subarray(0, 5).toString("hex");
  return `02:${octets.match(/../g)?.join(":")}` as ReturnType<typeof exampleNode>["mac"];
}
