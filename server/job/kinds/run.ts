/**
 * Run: a program of the installed system, by its agent, or by SSH where none
 * calls. It is begun once: whether one that broke off has had its effect cannot
 * be known, so it is not tried again by itself.
 */

import { Type } from "typebox";
import { type Milliseconds, milliseconds } from "#protocol/brand.ts";
import type { Node } from "#protocol/node.ts";
import type { Shell } from "../../ssh/shell.ts";
import { AttemptError, type Kind, type TaskRun } from "../kind.ts";
import { check } from "../parameters.ts";

const schema = Type.Object(
  {
    argv: Type.Array(Type.String({ maxLength: 4096, pattern: "^[^\\u0000]*$" }), {
      minItems: 1,
      maxItems: 256,
    }),
    command: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    timeoutSeconds: Type.Integer({ minimum: 1, maximum: 86_400, default: 600 }),
  },
  { additionalProperties: false },
);

/** Beyond the time it is given: the order's way there, and the last report's way back. */
const margin = milliseconds(60_000);

export const run: Kind<"run"> = {
  kind: "run",
  stages: ["requested", "executing", "executing-by-ssh", "executed"],
  agentStages: ["requested", "executing"],
  stageAfterDone: "executed",
  stageWhenFetched: "executing",
  parse: (value) => check(schema, value),

  refuse: whyNotReached,

  async run(task, job) {
    const { argv, timeoutSeconds } = job.parameters;
    const limit = (timeoutSeconds * 1000 + margin) as Milliseconds;
    const { stage } = task.task;
    if (stage === "executing-by-ssh") {
      throw new AttemptError("the server was restarted while it ran", false);
    }
    const isBegun = stage !== "requested";
    if (isBegun || (task.node.connection === "online" && task.node.agent)) {
      await byAgent(task, { argv, timeoutSeconds }, limit);
    } else {
      await bySsh(task, argv, limit);
    }
    return {};
  },
};

/** What keeps both the agent of the installed system and SSH from it. */
export function whyNotReached(node: Node): string | undefined {
  if (node.quarantined) return `${node.name} is held back: ${node.reason ?? "in quarantine"}`;
  if (node.connection === "online" && node.agent?.role === "resident") return undefined;
  if (node.connection === "online") return `${node.name} is in netinst: no system runs there`;
  if (node.sshHostKeys?.length && node.address !== undefined) return undefined;
  return `${node.name} is offline, and no SSH host key of it was recorded`;
}

async function byAgent(
  task: TaskRun,
  work: { readonly argv: readonly string[]; readonly timeoutSeconds: number },
  limit: Milliseconds,
): Promise<void> {
  const before = task.task.bootIdBefore ?? task.node.agent?.bootId;
  if (before === undefined) throw new AttemptError("its agent never called", false);
  if (task.task.stage !== "executed") task.order({ action: "run", ...work }, before);
  const done = await task.until(() => {
    if (task.task.stage === "executed") return true;
    if (task.node.agent?.bootId === before) return undefined;
    throw new AttemptError("the node restarted meanwhile", false);
  }, limit);
  if (!done) throw new AttemptError(`no word of its end within ${limit / 1000} s`, false);
}

async function bySsh(task: TaskRun, argv: readonly string[], limit: Milliseconds): Promise<void> {
  const over = new AbortController();
  const signal = AbortSignal.any([task.signal, over.signal]);
  // Ends it when the task is cancelled meanwhile, or takes too long.
  void task
    .until(() => over.signal.aborted || undefined, limit)
    .then(
      () => over.abort(new AttemptError(`not ended within ${limit / 1000} s`, false)),
      (reason: unknown) => over.abort(reason),
    );
  try {
    const shell = await task.shell(signal);
    try {
      task.setStage("executing-by-ssh"); // on disk before it begins
      await runIn(shell, task, argv, signal);
    } finally {
      shell.close();
    }
  } catch (error) {
    if (signal.aborted || error instanceof AttemptError) throw signal.reason ?? error;
    throw new AttemptError(error instanceof Error ? error.message : String(error), false);
  } finally {
    over.abort();
  }
}

async function runIn(
  shell: Shell,
  task: TaskRun,
  argv: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  let last = "";
  const say = (line: string) => {
    last = line;
    task.say(line);
  };
  const { code, signal: name } = await shell.run(argv, say, signal);
  if (code === 0) return;
  const how = code === undefined ? `signal ${name}` : `exit status ${code}`;
  throw new AttemptError(last === "" ? how : `${how}: ${last}`, false);
}
