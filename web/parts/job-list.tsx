/** Jobs, newest first, with the state of each node. */

import { useSignal } from "@preact/signals";
import { isFinished, type Job, type Task } from "#protocol/job.ts";
import { healthText } from "#protocol/rollout-text.ts";
import { call } from "../api.ts";
import { batchesOf } from "../state/batches.ts";
import { overall, stageText } from "../state/face.ts";
import { isUnfinished } from "../state/site.ts";
import type { PageContext } from "./context.ts";
import { Moment } from "./moment.tsx";

const shown = 8;

export function JobList({ context, canAct }: { context: PageContext; canAct: boolean }) {
  const jobs = context.site.jobs.value.slice(0, shown);
  return (
    <section class="card" aria-labelledby="jobs">
      <h2 id="jobs">Jobs</h2>
      {jobs.length === 0 && <p class="quiet">None yet: select nodes, then choose what to do.</p>}
      <ul class="plain-list">
        {jobs.map((job) => (
          <JobRow key={job.id} job={job} context={context} canAct={canAct} />
        ))}
      </ul>
    </section>
  );
}

interface JobProps {
  readonly job: Job;
  readonly context: PageContext;
  readonly canAct: boolean;
}

function JobRow({ job, context, canAct }: JobProps) {
  const { site } = context;
  const tasks = [...site.tasks.value.values()].filter((task) => task.jobId === job.id);
  const image =
    (job.kind === "install" || job.kind === "update") &&
    site.images.value.find((one) => one.digest === job.parameters.image)?.name;
  const health = healthText(job);
  const state = job.paused && !isFinished(job.state) ? "paused" : job.state;
  return (
    <li class="job">
      <div class="job-head">
        <b>
          {job.kind}
          {image && ` ${image}`}
        </b>
        <span class={`chip chip-${state}`}>{state}</span>
        <span class="quiet">
          {job.schedule ?? job.createdBy} · <Moment at={job.createdAt} />
        </span>
        {canAct && <JobButtons job={job} hasFailed={tasks.some((one) => one.state === "failed")} />}
      </div>
      {job.waitsFor !== undefined && <p class="job-waits">Waits: {job.waitsFor}</p>}
      {health !== undefined && <p class="job-batch quiet">Health: {health}</p>}
      {batchesOf(tasks).map(({ batch, name, counts, shown }) => (
        <div key={batch}>
          {name !== undefined && (
            <p class="job-batch">
              <b>{name}</b> <span class="quiet">{counts}</span>
            </p>
          )}
          <ul class="plain-list">
            {shown.map((task) => (
              <TaskRow key={task.id} task={task} context={context} />
            ))}
          </ul>
        </div>
      ))}
    </li>
  );
}

function JobButtons({ job, hasFailed }: { job: Job; hasFailed: boolean }) {
  const refusal = useSignal<string | undefined>(undefined);
  const button = (text: string, verb: string, body?: object) => (
    <button
      type="button"
      class="button-quiet"
      onClick={() =>
        void call("POST", `/api/v1/jobs/${job.id}/${verb}`, body).then(
          () => {
            refusal.value = undefined;
          },
          (error: unknown) => {
            refusal.value = error instanceof Error ? error.message : String(error);
          },
        )
      }
    >
      {text}
    </button>
  );
  const isOpen = !isFinished(job.state);
  return (
    <span class="job-buttons">
      {isOpen && !job.paused && button("Pause", "pause", { reason: "on the page" })}
      {isOpen && job.paused && button("Resume", "resume")}
      {hasFailed && button("Retry failed", "retry")}
      {isOpen && button("Cancel", "cancel")}
      {refusal.value !== undefined && (
        <span class="refusal" role="alert">
          {refusal.value}
        </span>
      )}
    </span>
  );
}

function TaskRow({ task, context }: { task: Task; context: PageContext }) {
  const name = context.site.nodes.value.get(task.nodeId)?.name ?? task.nodeId;
  const percent = task.state === "done" ? 100 : overall(task);
  const rate = task.bytesPerSecond ? ` · ${(task.bytesPerSecond / 1e6).toFixed(1)} MB/s` : "";
  return (
    <li class="task">
      <span class="task-name">{name}</span>
      <progress
        class={`bar bar-${task.state}`}
        max={100}
        value={percent}
        aria-label={`${name}: ${percent} %`}
      />
      <span class="task-text">
        {isUnfinished(task) ? `${stageText(task)}${rate}` : (task.reason ?? task.state)}
      </span>
    </li>
  );
}
