/**
 * Health: what must hold of the nodes of a batch once they did what was asked.
 *
 *   online               the node's agent calls
 *   port:22              something takes TCP connections there
 *   http:8080/ready      GET is answered with a status below 400
 *   web-ready            a command of the configuration ends with exit status 0
 *
 * A node that is not healthy has failed: its task, which was done, is failed after
 * all. So budget, canary, `retry` and notices count it as they count every failure.
 * Commands are jobs `run` of their own. Everything can be begun again: what was
 * found is in the journal, and what was not is asked once more.
 */

import type { JobId, NodeId } from "#protocol/brand.ts";
import { isFinished, type Job, type JobKindName, type Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { batchName } from "#protocol/rollout-text.ts";
import type { Clock } from "../clock.ts";
import { InvalidInputError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Nodes } from "../node/nodes.ts";
import type { Store } from "../store/store.ts";
import { type Commands, commandParameters } from "./commands.ts";
import type { JobRequest } from "./new-job.ts";
import type { NetworkCheck, Probe } from "./probe.ts";
import { kindOf } from "./registry.ts";
import type { TaskJournal } from "./task-journal.ts";

export type HealthCheck =
  | { readonly check: "online" }
  | NetworkCheck
  | { readonly check: "command"; readonly command: string };

type Found = NonNullable<Job["health"]>;

/** Nodes asked over the network at once. */
const probedAtOnce = 64;

const network = /^(?<check>port|http):(?<port>[1-9]\d{0,4})(?<path>\/[\x21-\x7e]{0,500})?$/;

/** @throws InvalidInputError for what is neither built in nor written as a command's name */
export function parseHealthCheck(text: string): HealthCheck {
  if (text === "online") return { check: "online" };
  const { check, port: number, path } = network.exec(text)?.groups ?? {};
  const port = Number(number);
  if (check === "port" && path === undefined && port <= 65_535) return { check, port };
  if (check === "http" && port <= 65_535) return { check, port, path: path ?? "/" };
  if (/^[a-z][a-z0-9-]{0,62}$/.test(text)) return { check: "command", command: text };
  throw wrong(`${JSON.stringify(text)} is none of online, port:22, http:8080/ready, a command`);
}

/** @throws InvalidInputError when nodes of this kind of job cannot be asked so */
export function checkHealth(names: readonly string[], kind: JobKindName, commands: Commands): void {
  if (kind === "shutdown" || kind === "power-off") {
    throw wrong(`nodes are off after ${kind}: their health cannot be asked for`);
  }
  for (const one of names.map(parseHealthCheck)) {
    if (one.check !== "command") continue;
    try {
      commandParameters({ command: one.command }, commands);
    } catch (error) {
      throw error instanceof InvalidInputError ? wrong(error.message) : error;
    }
  }
}

function wrong(detail: string): InvalidInputError {
  return new InvalidInputError(detail, [{ pointer: "/rollout/health", detail }]);
}

/** Whether nodes of the job must be online after their batch: by default where the kind says so. */
export function isWatched({ kind, rollout }: Pick<Job, "kind" | "rollout">): boolean {
  return rollout?.health?.includes("online") ?? kindOf(kind).endsOnline === true;
}

export interface Health {
  /**
   * Goes on with the checks of a batch that has settled; called again until the job says
   * that they have ended.
   *
   * @throws InvalidInputError when a command is no longer configured
   */
  look(job: Job, batch: number): void;
  close(): void;
}

export interface HealthContext {
  readonly store: Store;
  readonly nodes: Pick<Nodes, "get">;
  readonly clock: Clock;
  readonly log: Log;
  readonly journal: TaskJournal;
  readonly commands: Commands;
  readonly probe: Probe;
  readonly create: (request: JobRequest, alongside: (job: Job) => void) => Job;
}

/** One asking over the network; in memory only, since it changes nothing. */
interface Probing {
  readonly batch: number;
  hasEnded: boolean;
}

export function createHealth(context: HealthContext): Health {
  const { store, nodes, clock, log, journal, commands, probe, create } = context;
  const probings = new Map<JobId, Probing>();
  const closing = new AbortController();

  const doneOf = (id: JobId, batch: number): readonly Task[] =>
    store.tasks.ofBatch(id, batch).filter(({ state }) => state === "done");
  const isOver = (id: JobId): boolean => {
    const job = store.jobs.get(id);
    return closing.signal.aborted || !job || isFinished(job.state) || job.paused !== undefined;
  };

  const whyUnreached = async (
    node: Node | undefined,
    checks: readonly NetworkCheck[],
  ): Promise<string | undefined> => {
    if (!node) return "it is gone";
    for (const one of checks) {
      const reason = await probe(node, one, closing.signal);
      if (reason !== undefined) return reason;
    }
    return undefined;
  };

  const ask = async (
    { id }: Job,
    probing: Probing,
    checks: readonly NetworkCheck[],
  ): Promise<void> => {
    const rest = [...doneOf(id, probing.batch)];
    const work = async () => {
      for (let task = rest.shift(); task && !isOver(id); task = rest.shift()) {
        const reason = await whyUnreached(nodes.get(task.nodeId), checks);
        if (reason !== undefined && !isOver(id)) {
          journal.failAfterAll(task.id, notHealthy(reason));
        }
      }
    };
    await Promise.all(Array.from({ length: probedAtOnce }, work));
    if (isOver(id)) probings.delete(id);
    else probing.hasEnded = true;
  };

  /** Whether the nodes were asked over the network; if not, that begins. */
  const isProbed = (job: Job, batch: number, checks: readonly NetworkCheck[]): boolean => {
    if (checks.length === 0) return true;
    const known = probings.get(job.id);
    if (known?.batch === batch) return known.hasEnded;
    const probing: Probing = { batch, hasEnded: false };
    probings.set(job.id, probing);
    ask(job, probing, checks).catch((error: unknown) => {
      log.error({ err: error, job: job.id }, "health was not found out; it is asked again");
      probings.delete(job.id);
    });
    return false;
  };

  const failOffline = (job: Job, batch: number): void => {
    if (!isWatched(job)) return;
    for (const task of doneOf(job.id, batch)) {
      const isOnline = nodes.get(task.nodeId)?.connection === "online";
      if (!isOnline) journal.failAfterAll(task.id, notHealthy("offline"));
    }
  };

  /** Whether the command has ended on all nodes that were healthy before it; if not, that begins. */
  const isRun = (job: Job, record: Found, command: string, index: number): boolean => {
    const asked = doneOf(job.id, record.batch);
    const id = record.jobs[index];
    if (id === undefined) {
      const present = asked.map(({ nodeId }) => nodeId).filter((one) => nodes.get(one));
      if (present.length === 0) return true;
      begin(job, record, command, present);
      return false;
    }
    const made = store.jobs.get(id);
    if (made && !isFinished(made.state)) return false;
    const results = new Map(store.tasks.ofJob(id).map((task) => [task.nodeId, task]));
    for (const task of asked) {
      const result = results.get(task.nodeId);
      if (result?.state === "done") continue;
      const reason = result?.reason ?? result?.state ?? "it is gone";
      journal.failAfterAll(task.id, notHealthy(`${command}: ${reason}`));
    }
    return true;
  };

  const begin = (job: Job, record: Found, command: string, asked: readonly NodeId[]): void => {
    const { id, kind, createdBy, rollout } = job;
    const request = {
      kind: "run",
      parameters: commandParameters({ command }, commands),
      selector: `${batchName(record.batch, rollout)} of ${id}`,
      nodes: asked,
      createdBy,
      why: `health after ${kind}`,
      healthOf: id,
    } as unknown as JobRequest; // its parameters are parsed when it is made
    create(request, (made) => {
      journal.changeJob(id, { health: { ...record, jobs: [...record.jobs, made.id] } });
    });
  };

  return {
    look(job, batch) {
      const names = job.rollout?.health ?? [];
      const checks = names.map(parseHealthCheck);
      const record = job.health?.batch === batch ? job.health : { batch, jobs: [] };
      const asked = `${batchName(batch, job.rollout)} to be found healthy: ${names.join(", ")}`;
      journal.changeJob(job.id, { waitsFor: asked });
      const isAsked =
        isProbed(job, batch, checks.filter(isOverNetwork)) &&
        checks
          .flatMap((one) => (one.check === "command" ? one.command : []))
          .every((command, index) => isRun(job, record, command, index));
      if (!isAsked) return;
      journal.together(() => {
        failOffline(job, batch);
        const [healthy, of] = [doneOf(job.id, batch), store.tasks.ofBatch(job.id, batch)];
        const end = { endedAt: clock.now(), healthy: healthy.length, of: of.length };
        journal.changeJob(job.id, { health: { ...record, ...end }, waitsFor: undefined });
      });
      probings.delete(job.id);
    },
    close: () => closing.abort(),
  };
}

function isOverNetwork(one: HealthCheck): one is NetworkCheck {
  return one.check === "port" || one.check === "http";
}

/** Why a task that was done has failed after all. */
export function notHealthy(reason: string): string {
  return `done, but then not healthy: ${reason}`;
}
