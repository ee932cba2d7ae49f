/** Windows and schedules: what will happen by itself, and when; made, changed and forgotten here. */

import { useSignal } from "@preact/signals";
import type { Image } from "#protocol/image.ts";
import type { ScheduleView, WindowView } from "#protocol/schedule.ts";
import { call } from "../api.ts";
import { momentIn, untilText } from "../state/calendar.ts";
import type { Planned } from "../state/planned.ts";
import { Dialog } from "./dialog.tsx";
import { ScheduleButton } from "./schedule-dialog.tsx";
import { WindowButton } from "./window-dialog.tsx";

interface ListProps {
  readonly planned: Planned;
  readonly images: readonly Image[];
  readonly role: "viewer" | "operator" | "admin";
}

export function PlannedList({ planned, images, role }: ListProps) {
  const windows = planned.windows.value;
  const schedules = planned.schedules.value;
  const mayPlan = role !== "viewer";
  if (!mayPlan && windows.length === 0 && schedules.length === 0) return null;
  return (
    <section class="card" aria-labelledby="planned">
      <h2 id="planned">Planned</h2>
      <ul class="plain-list">
        {windows.map((window) => (
          <li key={window.name} class="planned">
            <b>{window.name}</b> {window.effect === "forbids" ? "blackout" : "window"}{" "}
            <span class="quiet">
              {window.opens}, {window.minutes} min · {whenOpen(window, planned)}
            </span>
            {role === "admin" && (
              <span class="planned-acts">
                <WindowButton planned={planned} name={window.name} />
                <RemoveButton planned={planned} noun="window" name={window.name} />
              </span>
            )}
          </li>
        ))}
        {schedules.map((schedule) => (
          <li key={schedule.name} class="planned">
            <b>{schedule.name}</b> {schedule.kind} of {schedule.selector}{" "}
            <span class="quiet">
              {schedule.at} · {whenDue(schedule, planned)}
              {schedule.last?.reason !== undefined && ` · last: ${schedule.last.reason}`}
            </span>
            {mayPlan && (
              <span class="planned-acts">
                <PauseButton planned={planned} schedule={schedule} />
                <ScheduleButton planned={planned} images={images} name={schedule.name} />
                <RemoveButton planned={planned} noun="schedule" name={schedule.name} />
              </span>
            )}
          </li>
        ))}
      </ul>
      {windows.length + schedules.length === 0 && (
        <p class="quiet">Nothing happens by itself so far.</p>
      )}
      {mayPlan && (
        <p class="planned-acts">
          {role === "admin" && <WindowButton planned={planned} />}
          <ScheduleButton planned={planned} images={images} />
        </p>
      )}
      {planned.refusal.value !== undefined && (
        <p class="refusal" role="alert">
          {planned.refusal.value}
        </p>
      )}
    </section>
  );
}

function PauseButton({ planned, schedule }: { planned: Planned; schedule: ScheduleView }) {
  const verb = schedule.isPaused ? "resume" : "pause";
  const path = `/api/v1/schedules/${encodeURIComponent(schedule.name)}/${verb}`;
  return (
    <button
      type="button"
      class="button-quiet"
      aria-label={`${schedule.isPaused ? "Resume" : "Pause"} ${schedule.name}`}
      onClick={() => void planned.attempt(() => call("POST", path))}
    >
      {schedule.isPaused ? "Resume" : "Pause"}
    </button>
  );
}

interface RemoveProps {
  readonly planned: Planned;
  readonly noun: "window" | "schedule";
  readonly name: string;
}

function RemoveButton({ planned, noun, name }: RemoveProps) {
  const open = useSignal(false);
  const remove = async () => {
    await call("DELETE", `/api/v1/${noun}s/${encodeURIComponent(name)}`);
    await planned.read();
  };
  return (
    <>
      <button
        type="button"
        class="button-quiet"
        aria-label={`Remove ${name}`}
        onClick={() => {
          open.value = true;
        }}
      >
        Remove…
      </button>
      <Dialog
        title={`Forget ${noun} ${name}?`}
        open={open}
        actionText="Forget it"
        isHarsh
        action={remove}
      >
        <p>
          {noun === "window"
            ? "Refused while a job or a schedule needs it."
            : "It makes no more jobs. Those it has made go on."}
        </p>
      </Dialog>
    </>
  );
}

function whenOpen({ openUntil, next: [next], zone }: WindowView, planned: Planned): string {
  if (openUntil !== undefined) return `open, closes ${nextText(openUntil, zone, planned)}`;
  return next === undefined ? "never opens again" : `opens ${nextText(next, zone, planned)}`;
}

function whenDue({ isPaused, next: [next], zone }: ScheduleView, planned: Planned): string {
  if (isPaused) return "paused";
  return next === undefined ? "never comes again" : `next ${nextText(next, zone, planned)}`;
}

function nextText(at: number, zone: string, { now, viewersZone }: Planned): string {
  return `${untilText(at, now())}: ${momentIn(at, zone, viewersZone)}`;
}
