/**
 * Copy: a file of the library to a path of the installed system, by its agent,
 * or by SSH where none calls. The file there is the old or the new one, never
 * half, so that it may be tried again.
 */

import { createReadStream } from "node:fs";
import { Type } from "typebox";
import { parseImageDigest } from "#protocol/brand.ts";
import type { CopyParameters } from "#protocol/job.ts";
import { agentsWork } from "../agent-work.ts";
import { AttemptError, type JobOf, type Kind, type TaskRun } from "../kind.ts";
import { absolutePath, check } from "../parameters.ts";
import { whyNotReached } from "./run.ts";

const schema = Type.Object(
  {
    image: Type.String({ pattern: "^[0-9a-f]{64}$" }),
    path: absolutePath,
    /** Permission bits as `chmod` takes them. */
    mode: Type.String({ pattern: "^0?[0-7]{3}$", default: "0644" }),
  },
  { additionalProperties: false },
);

export const copy: Kind<"copy"> = {
  kind: "copy",
  stages: ["requested", "copying", "copied"],
  agentStages: ["requested", "copying"],
  stageAfterDone: "copied",

  parse(value): CopyParameters {
    const { image, ...rest } = check(schema, value);
    return { ...rest, image: parseImageDigest(image) };
  },

  refuse(node, job, images) {
    const image = images.get(job.parameters.image);
    if (!image) return `file ${job.parameters.image} is no longer in the library`;
    if (image.format !== "file") {
      return `${image.name} is an OS image: push what is copied with --format file`;
    }
    return whyNotReached(node);
  },

  async run(task, job) {
    if (task.node.connection === "online" && task.node.agent) await byAgent(task, job);
    else await bySsh(task, job);
    return {};
  },
};

async function byAgent(task: TaskRun, job: JobOf<"copy">): Promise<void> {
  const bootId = task.node.agent?.bootId;
  if (bootId === undefined) throw new AttemptError("its agent never called", true);
  const { image, path, mode } = job.parameters;
  if (task.task.stage !== "copied") {
    const work = { action: "copy", path, mode: Number.parseInt(mode, 8) } as const;
    task.order({ ...work, ...task.ticketFor(image) }, bootId);
  }
  await agentsWork(task, () => task.task.stage !== "copied");
}

async function bySsh(task: TaskRun, { parameters }: JobOf<"copy">): Promise<void> {
  const shell = await task.shell(task.signal);
  try {
    task.setStage("copying");
    const content = createReadStream(task.fileOf(parameters.image));
    await shell.write(parameters.path, content, Number.parseInt(parameters.mode, 8));
  } finally {
    shell.close();
  }
}
