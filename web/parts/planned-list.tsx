/** Windows and schedules: what will happen by itself, and when. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Schedule, Window } from "#protocol/schedule.ts";
import { call } from "../api.ts";

type WindowView = Window & { readonly openUntil?: number; readonly next: readonly number[] };
type ScheduleView = Schedule & { readonly next: readonly number[] };
interface Page<Item> {
  readonly items: readonly Item[];
}

const againMs = 30_000;

export function PlannedList({ canAct }: { canAct: boolean }) {
  const windows = useSignal<readonly WindowView[]>([]);
  const schedules = useSignal<readonly ScheduleView[]>([]);
  const refusal = useSignal<string | undefined>(undefined);
  const read = async () => {
    windows.value = (await call<Page<WindowView>>("GET", "/api/v1/windows")).items;
    schedules.value = (await call<Page<ScheduleView>>("GET", "/api/v1/schedules")).items;
  };
  const attempt = (work: Promise<unknown>) =>
    void work.then(
      () => {
        refusal.value = undefined;
      },
      (error: unknown) => {
        refusal.value = error instanceof Error ? error.message : String(error);
      },
    );
  useEffect(() => {
    attempt(read());
    const timer = setInterval(() => attempt(read()), againMs);
    return () => clearInterval(timer);
  }, []);
  const ask = (name: string, verb: string) =>
    attempt(call("POST", `/api/v1/schedules/${encodeURIComponent(name)}/${verb}`).then(read));
  if (windows.value.length === 0 && schedules.value.length === 0) return null;
  return (
    <section class="card" aria-labelledby="planned">
      <h2 id="planned">Planned</h2>
      <ul class="plain-list">
        {windows.value.map((window) => (
          <li key={window.name} class="planned">
            <b>{window.name}</b> {window.effect === "forbids" ? "blackout" : "window"}{" "}
            <span class="quiet">
              {window.opens} · {window.minutes} min ·{" "}
              {window.openUntil === undefined
                ? `opens ${timeText(window.next[0])}`
                : `open until ${timeText(window.openUntil)}`}
            </span>
          </li>
        ))}
        {schedules.value.map((schedule) => (
          <li key={schedule.name} class="planned">
            <b>{schedule.name}</b> {schedule.kind} of {schedule.selector}{" "}
            <span class="quiet">
              {schedule.at} · {schedule.isPaused ? "paused" : `next ${timeText(schedule.next[0])}`}
              {schedule.last?.reason !== undefined && ` · last: ${schedule.last.reason}`}
            </span>
            {canAct && (
              <button
                type="button"
                class="button-quiet"
                onClick={() => ask(schedule.name, schedule.isPaused ? "resume" : "pause")}
              >
                {schedule.isPaused ? "Resume" : "Pause"}
              </button>
            )}
          </li>
        ))}
      </ul>
      {refusal.value !== undefined && (
        <p class="refusal" role="alert">
          {refusal.value}
        </p>
      )}
    </section>
  );
}

const moment = new Intl.DateTimeFormat([], {
  weekday: "short",
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});

function timeText(at: number | undefined): string {
  return at === undefined ? "never" : moment.format(at);
}
