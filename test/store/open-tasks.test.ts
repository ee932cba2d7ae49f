import test from "ava";
import type { NodeId, TaskId } from "#protocol/brand.ts";
import { createOpenTasks } from "../../server/store/open-tasks.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { exampleJob, exampleTask } from "./contract.ts";

const ids = (tasks: readonly { readonly id: string }[]) => tasks.map(({ id }) => id);

test("the table is read once, and again when something was undone", (t) => {
  let reads = 0;
  const open = createOpenTasks(() => {
    reads += 1;
    return [exampleTask("task_1")];
  });
  t.is(open.get("task_1" as TaskId)?.state, "queued");
  open.put(exampleTask("task_1", "running"));
  t.is(open.get("task_1" as TaskId)?.state, "running");
  t.is(reads, 1);
  open.forget();
  t.is(open.get("task_1" as TaskId)?.state, "queued");
  t.is(reads, 2);
});

test("a task that has ended is no longer kept; one that waits is, and does no work", (t) => {
  const open = createOpenTasks(() => []);
  open.put(exampleTask("task_1", "waiting"));
  open.put(exampleTask("task_2", "queued", "node_2"));
  t.is(open.nodesAtWork(), 1);
  t.deepEqual(ids(open.atWork()), ["task_2"]);
  t.deepEqual(ids(open.atWorkOn("node_1" as NodeId)), []);
  open.put(exampleTask("task_1", "running"));
  t.deepEqual(ids(open.atWork()), ["task_1", "task_2"]);
  open.put(exampleTask("task_1", "done"));
  t.is(open.get("task_1" as TaskId), undefined);
  t.is(open.nodesAtWork(), 1);
});

test("a job is open until the last of its tasks has ended, however often each was written", (t) => {
  const open = createOpenTasks(() => []);
  const job = exampleTask("task_1").jobId;
  t.false(open.isOpen(job));
  for (const state of ["queued", "running", "done", "done"] as const) {
    open.put(exampleTask("task_1", state));
    open.put(exampleTask("task_2", state === "done" ? "running" : state));
    t.true(open.isOpen(job));
  }
  open.put(exampleTask("task_2", "failed"));
  t.false(open.isOpen(job));
});

test("what a transaction undid is forgotten, of tasks and attempts", (t) => {
  const store = openSqliteStore(":memory:");
  const { id } = exampleTask("task_1");
  store.jobs.put(exampleJob("job_1"));
  store.tasks.put(exampleTask("task_1"));
  t.throws(() =>
    store.transaction(() => {
      store.tasks.put(exampleTask("task_1", "running"));
      store.tasks.put(exampleTask("task_2"));
      store.attempts.put({ taskId: id, epoch: 1, startedAt: exampleTask("task_1").createdAt });
      throw new RangeError("no");
    }),
  );
  t.is(store.tasks.get(id)?.state, "queued");
  t.is(store.tasks.get("task_2" as TaskId), undefined);
  t.is(store.attempts.get(id, 1), undefined);
  t.deepEqual(ids(store.tasks.unfinished()), ["task_1"]);
  store.close();
});
