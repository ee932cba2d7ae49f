/** Seven days of windows, blackouts, schedules and jobs that wait for their time. */

import type { CalendarEntry } from "#protocol/schedule.ts";
import { weekOf } from "../state/calendar.ts";
import type { Planned } from "../state/planned.ts";
import { SelectField } from "./field.tsx";

const words: Readonly<Record<CalendarEntry["kind"], string>> = {
  window: "window",
  blackout: "blackout",
  schedule: "schedule",
  job: "job",
};

export function WeekView({ planned }: { planned: Planned }) {
  const { calendar, zone, week, viewersZone, now, windows, schedules } = planned;
  const { entries, isWhole } = calendar.value;
  const known = [...windows.value, ...schedules.value, ...entries].map((one) => one.zone);
  const others = [...new Set(known)].filter((one) => one !== viewersZone).toSorted();
  if (known.length === 0 && week.value === 0) return null;
  const go = (by: number) => {
    week.value += by;
    void planned.read();
  };
  const days = weekOf(entries, { week: week.value, now: now(), zone: zone.value });
  return (
    <section class="card" aria-labelledby="week">
      <div class="week-head">
        <h2 id="week">{week.value === 0 ? "The next seven days" : `Week of ${days[0]?.title}`}</h2>
        <button
          type="button"
          class="button-quiet"
          disabled={week.value === 0}
          onClick={() => go(-1)}
        >
          Earlier
        </button>
        <button type="button" class="button-quiet" onClick={() => go(1)}>
          Later
        </button>
        <SelectField
          text="Times of"
          value={zone}
          options={[
            [viewersZone, `here (${viewersZone})`] as const,
            ...others.map((one) => [one, one] as const),
          ]}
        />
      </div>
      <ol class="week">
        {days.map((day) => (
          <li key={day.date}>
            <h3>{day.title}</h3>
            {day.entries.length === 0 && <p class="quiet">nothing</p>}
            <ul class="plain-list">
              {day.entries.map(({ entry, times }) => (
                <li
                  key={`${entry.kind} ${entry.name} ${entry.at}`}
                  class={`week-entry week-${entry.kind}`}
                >
                  <span class="week-times">{times}</span> <b>{entry.name}</b>{" "}
                  <span>{entry.text ?? words[entry.kind]}</span>
                </li>
              ))}
            </ul>
          </li>
        ))}
      </ol>
      {!isWhole && <p class="quiet">What comes most often is cut short.</p>}
    </section>
  );
}
