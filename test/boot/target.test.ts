import test from "ava";
import { instant, type JobId, type TaskId } from "#protocol/brand.ts";
import type { JobKindName, Stage, TaskState } from "#protocol/job.ts";
import type { NodeState } from "#protocol/node.ts";
import { type BootTarget, decideBootTarget } from "../../server/boot/target.ts";
import { node, pc } from "./setup.ts";

const task = (kind: JobKindName, state: TaskState, stage?: Stage) => ({
  id: "task_1" as TaskId,
  jobId: "job_1" as JobId,
  nodeId: node(pc).id,
  kind,
  state,
  epoch: 1,
  ...(stage && { stage }),
  percent: 0,
  stageSeconds: {},
  createdAt: instant(0),
});

const table: readonly (readonly [
  title: string,
  state: NodeState | undefined,
  tasks: readonly ReturnType<typeof task>[],
  target: BootTarget,
])[] = [
  ["a node nobody knows", undefined, [], "netinst"],
  ["a discovered node", "discovered", [], "netinst"],
  ["a ready node", "ready", [], "netinst"],
  ["a failed node", "failed", [], "netinst"],
  ["an installed node", "installed", [], "local-disk"],
  ["a retired node", "retired", [], "local-disk"],
  ["an install that has not begun", "installed", [task("install", "queued")], "local-disk"],
  [
    "an install on an installed node that waits for netinst",
    "installed",
    [task("install", "running", "waiting-for-agent")],
    "netinst",
  ],
  ["an install in its writing", "installing", [task("install", "running", "writing")], "netinst"],
  [
    "an install in its committing",
    "installing",
    [task("install", "running", "committing")],
    "netinst",
  ],
  [
    "an install that reboots",
    "installing",
    [task("install", "running", "rebooting")],
    "local-disk",
  ],
  [
    "an install in its first boot",
    "installing",
    [task("install", "running", "first-boot")],
    "local-disk",
  ],
  [
    "a reboot job of an installed node",
    "installed",
    [task("reboot", "running", "rebooting")],
    "local-disk",
  ],
  [
    "an install behind a queued reboot",
    "ready",
    [task("reboot", "queued"), task("install", "running", "preparing")],
    "netinst",
  ],
];
for (const [title, state, tasks, target] of table) {
  test(`${title} boots ${target}`, (t) => {
    t.is(decideBootTarget(state && node(pc, { state }), tasks), target);
  });
}
