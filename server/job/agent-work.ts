/** What kinds that the agent in netinst works for have in common: bringing the node there, waiting for its work, and bringing it back. */

import type { AgentSession, Node } from "#protocol/node.ts";
import { AttemptError, type TaskRun } from "./kind.ts";

/** One restart in one attempt: a node that is back in its installed system needs another attempt. */
export async function bringIntoNetinst(run: TaskRun): Promise<AgentSession> {
  const present = netinstOf(run.node);
  if (present) return present;
  const limit = await startNetinst(run);
  let isTold = residentOf(run.node) !== undefined;
  let { certificate } = run.node;
  const come = await run.until(() => {
    const resident = residentOf(run.node);
    if (resident) ({ certificate } = run.node); // it may renew its own
    if (resident && run.isRestartOrdered()) {
      if (resident.bootId !== run.task.bootIdBefore) {
        throw new AttemptError("it started its installed system again instead of netinst", true);
      }
      // The order is not in the journal: a server that was started anew gives it again to that boot.
      if (!isTold) run.orderRestart(resident.bootId);
      isTold = true;
    }
    return netinstOf(run.node) ?? (run.node.certificate !== certificate || undefined);
  }, limit);
  run.withdraw();
  if (come === true) return await firstCall(run);
  if (come) return come;
  throw new AttemptError(`netinst did not call within ${Math.round(limit / 1000)} s`, true);
}

/** Netinst has enrolled and calls next. One that lost its power in between has no token any more: another attempt gives it one. */
async function firstCall(run: TaskRun): Promise<AgentSession> {
  const { silence } = run.timing;
  const agent = await run.until(() => netinstOf(run.node), silence);
  if (agent) return agent;
  const waited = Math.round(silence / 1000);
  throw new AttemptError(`netinst enrolled, and did not call within ${waited} s`, true);
}

/** @returns how long its first check-in may take. */
async function startNetinst(run: TaskRun): Promise<TaskRun["timing"]["boot"]> {
  const { task, timing } = run;
  const resident = residentOf(run.node);
  if (resident) {
    const isBack = run.isRestartOrdered() && resident.bootId !== task.bootIdBefore;
    if (isBack) return timing.boot;
    run.openWindow("reboot");
    run.orderRestart(resident.bootId);
    run.say("asked the running system to restart into netinst");
    return timing.boot;
  }
  run.openWindow("power-on");
  if (!run.hasOutlet()) {
    run.say("no agent is online and no outlet is known: power the node on by hand");
    return timing.manualBoot;
  }
  if (await run.switchPowerOnce()) run.say("switched its power so that it boots netinst");
  return timing.boot;
}

/**
 * Returns when the agent has reported `done`; at once when it had before. However long that takes:
 * a large disk needs its hours, and a burn-in may last a day.
 *
 * @param isAtWork - whether the task is still at one of the agent's stages
 * @param again - whether another attempt may follow one that broke off
 * @throws AttemptError when the node restarted, fell silent, or came no further
 */
export async function agentsWork(
  run: TaskRun,
  isAtWork: () => boolean,
  again = true,
): Promise<void> {
  const { work, silence } = run.timing;
  for (;;) {
    const before = progressOf(run);
    const ended = await run.until(() => {
      const { task, node } = run;
      if (!isAtWork()) return "done";
      const isAnother = node.agent && node.agent.bootId !== task.bootIdBefore;
      if (isAnother || asksAnew(node)) {
        throw new AttemptError(`the node restarted while ${task.stage}`, again);
      }
      if (run.silence() >= silence) {
        const seconds = silence / 1000;
        throw new AttemptError(`no sign of life for ${seconds} s while ${task.stage}`, again);
      }
      return progressOf(run) === before ? undefined : "further";
    }, work);
    if (ended === "done") return;
    if (ended === undefined) {
      throw new AttemptError(`no progress for ${work / 60_000} minutes: ${run.task.stage}`, again);
    }
  }
}

function progressOf({ task }: TaskRun): string {
  return `${task.stage} ${task.percent}`;
}

/**
 * Its agent is silent, and since then its next boot asks to enrol, without a token, as that was used:
 * it had lost its power. The word of whoever asks is believed only because the agent has none.
 */
function asksAnew({ connection, agent, asks = [] }: Node): boolean {
  return connection === "offline" && asks.some(({ at }) => at > (agent?.lastSeen ?? 0));
}

/**
 * From netinst into the system on the disk; returns when its agent has called.
 *
 * @param isIt - whether a call is that system's; default: it calls itself by the node's name
 * @throws AttemptError when it does not; whatever `isIt` throws
 */
export async function bootInstalled(
  run: TaskRun,
  isIt: (agent: AgentSession) => boolean = ({ hostname }) => hostname === run.node.name,
): Promise<void> {
  const before = bootIdBefore(run);
  if (run.node.agent?.bootId === before) {
    run.order({ action: "reboot", warnSeconds: 0 }, before);
  }
  const { firstBoot: limit } = run.timing;
  const proven = await run.until(() => {
    const { node, task } = run;
    const agent = node.connection === "online" ? node.agent : undefined;
    if (task.stage === "rebooting" && agent?.bootId !== before) run.setStage("first-boot");
    if (agent === undefined || agent.bootId === before) return undefined;
    if (agent.role === "netinst") {
      throw new AttemptError("it started netinst again instead of the installed system", true);
    }
    return isIt(agent) || undefined;
  }, limit);
  run.withdraw();
  if (proven) return;
  throw new AttemptError(whyNotProven(run.node, before, limit), true);
}

function whyNotProven({ agent, name }: Node, before: string, limitMs: number): string {
  const named = agent !== undefined && agent.bootId !== before && agent.hostname !== name;
  return named
    ? `the installed system calls itself ${agent.hostname}, not ${name}`
    : `the installed system did not call within ${Math.round(limitMs / 1000)} s`;
}

export function netinstOf(node: Node): AgentSession | undefined {
  return node.connection === "online" && node.agent?.role === "netinst" ? node.agent : undefined;
}

export function residentOf(node: Node): AgentSession | undefined {
  return node.connection === "online" && node.agent?.role === "resident" ? node.agent : undefined;
}

/** The boot that the order of the present stage went to. */
export function bootIdBefore({ task }: TaskRun): string {
  if (task.bootIdBefore !== undefined) return task.bootIdBefore;
  throw new AttemptError(`no boot id was recorded before ${task.stage}`, true);
}
