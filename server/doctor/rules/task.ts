/** The work a node was given. */

import { remedyOf } from "#protocol/remedy.ts";
import { type RuleGroup, since } from "../rule.ts";
import { durationText } from "../words.ts";

export const taskRules: RuleGroup = {
  whileBooting: false,
  rules: [
    {
      code: "task-failed",
      severity: "problem",
      tell: ({ task }) =>
        task?.state === "failed"
          ? `its ${task.kind} failed${task.stage ? ` while ${task.stage}` : ""}: ${task.reason ?? "no reason recorded"}`
          : undefined,
      remedy: ({ task }) => (task && remedyOf(task)) ?? "",
    },
    {
      code: "task-runs",
      severity: "ok",
      tell(story) {
        const { task } = story;
        if (task?.state !== "running") return undefined;
        const stage = task.stage ? `${task.stage}, ${Math.round(task.percent)} %` : "begun";
        return `its ${task.kind} runs: ${stage}, since ${durationText(since(story, task.stageSince ?? task.startedAt))}`;
      },
    },
    {
      code: "task-planned",
      severity: "ok",
      tell: ({ task }) =>
        task?.state === "waiting" ? `its ${task.kind} is planned, and has not begun` : undefined,
      remedy: "`marcoboot job list` says what it waits for",
    },
    {
      code: "task-waits",
      severity: "hint",
      tell: (story) =>
        story.task?.state === "queued"
          ? `its ${story.task.kind} has waited for ${durationText(since(story, story.task.createdAt))}`
          : undefined,
      remedy: "another job may hold it, or its rack is being learnt: `marcoboot job list`",
    },
  ],
};
