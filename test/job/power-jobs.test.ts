import test from "ava";
import { createRig, digest, installRequest, ms, type Rig } from "./rig.ts";

const reboot = { kind: "reboot", parameters: { warnSeconds: 0 } } as const;
const shutdown = { kind: "shutdown", parameters: { warnSeconds: 60 } } as const;

async function online(outlet: Rig["outlet"] = "none"): Promise<Rig> {
  const rig = await createRig(outlet);
  await rig.checkIn("resident", "disk-1");
  return rig;
}

test("a reboot is done when the agent calls from another boot", async (t) => {
  const rig = await online();
  await rig.create(reboot);
  t.like(rig.order(), { action: "reboot", warnSeconds: 0, epoch: 1 });
  t.is(rig.task().stage, "rebooting");
  await rig.live(30, "resident", "disk-1");
  t.is(rig.task().state, "running");
  await rig.checkIn("resident", "disk-2");
  t.is(rig.task().state, "done");
  t.is(rig.order(), undefined);
});

test("a node that has restarted is not ordered to restart again, even when the server did too", async (t) => {
  const before = await online();
  await before.create(reboot);
  before.order();
  await before.jobs.close();
  await before.checkIn("resident", "disk-2");
  const rig = await before.restart();
  t.is(rig.task().state, "done");
  t.is(rig.order(), undefined);
});

test("a node that does not come back is power-cycled in the second attempt", async (t) => {
  const rig = await online("on");
  await rig.create(reboot);
  rig.order();
  await rig.silent(620);
  t.like(rig.task(), { state: "running", epoch: 2 });
  t.is(rig.attempts()[0]?.reason, "it did not come back within 600 s");
  t.deepEqual(rig.verbs, ["window reboot", "window reboot", "cycle a1"]);
  await rig.checkIn("resident", "disk-2");
  t.is(rig.task().state, "done");
});

test("nobody can obey on a node that is offline", async (t) => {
  const rig = await createRig("on");
  await rig.create(reboot);
  t.like(rig.task(), { state: "failed", reason: "lab-a-1 is offline: no agent there can obey" });
});

test("a shutdown is done when the outlet says off", async (t) => {
  const rig = await online("on");
  await rig.create(shutdown);
  t.like(rig.order(), { action: "shutdown", warnSeconds: 60 });
  await rig.live(60, "resident", "disk-1");
  t.like(rig.task(), { state: "running", stage: "powering-off" });
  rig.outlet = "off";
  await rig.silent(10);
  t.is(rig.task().state, "done");
  t.like(rig.node, { power: "off", connection: "offline" });
});

test("without an outlet, a shutdown is done after a minute of silence", async (t) => {
  const rig = await online();
  await rig.create(shutdown);
  rig.order();
  await rig.live(60, "resident", "disk-1");
  await rig.silent(55);
  t.is(rig.task().state, "running");
  await rig.silent(10);
  t.is(rig.task().state, "done");
  t.is(rig.node.power, "off");
});

test("a node that goes silent before it took the order did not obey", async (t) => {
  const rig = await online();
  await rig.create(shutdown);
  await rig.silent(70);
  t.is(rig.attempts()[0]?.reason, "no sign of life for 60 s before it took the order");
});

test("two jobs on one node run one after the other", async (t) => {
  const rig = await online();
  const first = await rig.create(reboot);
  const second = await rig.create(reboot);
  t.is(rig.task(first).state, "running");
  t.is(rig.task(second).state, "queued");
  await rig.checkIn("resident", "disk-2");
  t.is(rig.task(first).state, "done");
  t.like(rig.task(second), { state: "running", bootIdBefore: "disk-2" });
  await rig.checkIn("resident", "disk-3");
  t.is(rig.task(second).state, "done");
});

test("cancelling the first job lets the second begin; a cancelled queued one never runs", async (t) => {
  const rig = await online();
  const [first, second, third] = [
    await rig.create(reboot),
    await rig.create(reboot),
    await rig.create(shutdown),
  ];
  rig.jobs.cancel(second.id, "ada");
  rig.jobs.cancel(first.id, "ada");
  await rig.clock.advance(0);
  t.like(rig.task(second), { state: "cancelled", epoch: 0 });
  t.like(rig.task(third), { state: "running", epoch: 1 });
});

test("a cancelled task that still asks its outlet ends before the node's next begins", async (t) => {
  const rig = await online("on");
  const { promise, resolve } = Promise.withResolvers<void>();
  rig.outletAnswers = promise;
  const first = await rig.create(shutdown);
  rig.jobs.cancel(first.id, "ada");
  const second = await rig.create(reboot);
  await rig.clock.advance(30_000); // the sweep finds it too
  t.like(rig.task(second), { state: "queued", epoch: 0 });
  resolve();
  await rig.clock.advance(0);
  t.like(rig.task(second), { state: "running", epoch: 1 });
});

test("a job made while Redis is away is durable and runs when it is back, once", async (t) => {
  const rig = await online();
  rig.queue.held = true;
  const job = await rig.create(reboot);
  t.is(rig.task(job).state, "queued");
  rig.queue.restore();
  rig.queue.restore();
  await rig.clock.advance(0);
  t.like(rig.task(job), { state: "running", epoch: 1 });
});

test("a queue that could not be rebuilt is rebuilt by the next sweep, though Redis has its entries", async (t) => {
  const rig = await online();
  rig.queue.held = true;
  const job = await rig.create(reboot);
  const { rebuild } = rig.queue;
  rig.queue.waiting = async () => 1;
  rig.queue.rebuild = async () => {
    rig.queue.rebuild = rebuild;
    throw new Error("Redis is already connecting/connected");
  };
  rig.queue.restore();
  await rig.clock.advance(0);
  t.is(rig.task(job).state, "queued");
  await rig.clock.advance(30_000);
  t.like(rig.task(job), { state: "running", epoch: 1 });
});

test("an entry that Redis lost without notice is found again within half a minute", async (t) => {
  const rig = await online();
  rig.queue.held = true;
  const job = await rig.create(reboot);
  rig.queue.held = false;
  await rig.live(30, "resident", "disk-1");
  t.is(rig.task(job).state, "running");
});

test("an agent that waits gets its order at once, and not the one it knows", async (t) => {
  const rig = await online();
  const never = new AbortController().signal;
  const { id } = rig.node;
  const waiting = rig.jobs.waitForAssignment(id, undefined, ms(25_000), never);
  await rig.create(reboot);
  const order = await waiting;
  t.like(order, { action: "reboot" });
  const known = `${order?.taskId}:1:reboot`;
  const again = rig.jobs.waitForAssignment(id, known, ms(25_000), never);
  await rig.clock.advance(25_000);
  t.is(await again, undefined);
});

test("an agent that hung up gets nothing", async (t) => {
  const rig = await online();
  const gone = new AbortController();
  const waiting = rig.jobs.waitForAssignment(rig.node.id, undefined, ms(25_000), gone.signal);
  gone.abort();
  t.is(await waiting, undefined);
});

const refused = [
  ["an unknown image", { ...installRequest, parameters: { image: "0".repeat(64) } }, /no image/],
  ["a digest that is none", { ...installRequest, parameters: { image: "x" } }, /parameters\/image/],
  ["an unknown parameter", { kind: "reboot", parameters: { warn: 1 } }, /parameters/],
  ["too long a warning", { kind: "shutdown", parameters: { warnSeconds: 3601 } }, /warnSeconds/],
  ["an unknown kind", { kind: "format", parameters: {} }, /no job kind "format"/],
  ["no node", { ...reboot, nodes: [] }, /names no node/],
  ["an unknown node", { ...reboot, nodes: ["node_x"] }, /no node node_x/],
  [
    "a key of two lines",
    { ...installRequest, parameters: { image: digest, authorizedKeys: ["a\nb"] } },
    /authorizedKeys/,
  ],
] as const;
for (const [title, request, message] of refused) {
  test(`refused with its reason, and nothing kept: ${title}`, async (t) => {
    const rig = await online();
    await t.throwsAsync(async () => rig.create(request as never), { message });
    t.deepEqual(rig.store.jobs.list({ limit: 9 }), []);
  });
}

test("a report of an unknown task, or of another node's, is refused", async (t) => {
  const rig = await online();
  await rig.create(reboot);
  await t.throwsAsync(rig.report({ taskId: "task_x" as never }), { message: /no task/ });
  const other = rig.nodes.heard({
    mac: "52:54:00:00:00:02" as never,
    ipxe: false,
    architectures: [],
  });
  const task = rig.task();
  t.throws(
    () =>
      rig.jobs.report(other.id, {
        taskId: task.id,
        epoch: 1,
        bootId: "x",
        status: "done",
        stage: "rebooting",
        percent: 100,
      }),
    { name: "ForbiddenError" },
  );
});

test("a job leaves an audit row when it is made and when it is cancelled", async (t) => {
  const rig = await online();
  const job = await rig.create(reboot);
  rig.jobs.cancel(job.id, "grace");
  const rows = rig.store.audit.list({ limit: 10 }).map(({ at: _, id: __, ...row }) => row);
  t.deepEqual(rows, [
    { who: "grace", what: "job cancel", target: job.id },
    { who: job.createdBy, what: "job reboot", target: job.id, detail: job.selector },
  ]);
});
