/** Jobs, newest first, with the state of each node. */

import type { Job, Task } from "#protocol/job.ts";
import { call } from "../api.ts";
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
    job.kind === "install" &&
    site.images.value.find((one) => one.digest === job.parameters.image)?.name;
  const isOpen = job.state === "running" || job.state === "queued";
  return (
    <li class="job">
      <div class="job-head">
        <b>
          {job.kind}
          {image && ` ${image}`}
        </b>
        <span class={`chip chip-${job.state}`}>{job.state}</span>
        <span class="quiet">
          {job.createdBy} · <Moment at={job.createdAt} />
        </span>
        {canAct && isOpen && (
          <button
            type="button"
            class="button-quiet"
            onClick={() => void call("POST", `/api/v1/jobs/${job.id}/cancel`)}
          >
            Cancel
          </button>
        )}
      </div>
      <ul class="plain-list">
        {tasks.map((task) => (
          <TaskRow key={task.id} task={task} context={context} />
        ))}
      </ul>
    </li>
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
