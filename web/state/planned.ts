/** What happens by itself: windows, schedules, and the week they make. */

import { type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { Calendar, ScheduleView, WindowView } from "#protocol/schedule.ts";
import { rangeOf } from "./calendar.ts";

export interface Planned {
  readonly windows: ReadonlySignal<readonly WindowView[]>;
  readonly schedules: ReadonlySignal<readonly ScheduleView[]>;
  readonly calendar: ReadonlySignal<Calendar>;
  /** Why it could not be read, or the last request was refused. */
  readonly refusal: ReadonlySignal<string | undefined>;
  /** On whose clock the week is shown. */
  readonly zone: Signal<string>;
  /** 0 is the one that begins today. */
  readonly week: Signal<number>;
  readonly viewersZone: string;
  readonly now: () => number;
  /** Never rejects. */
  read(): Promise<void>;
  /** Does what was asked for, then reads again. Never rejects. */
  attempt(work: () => Promise<unknown>): Promise<void>;
}

interface PlannedContext {
  readonly get: <Answer>(path: string) => Promise<Answer>;
  readonly now: () => number;
  readonly viewersZone: string;
}

export function createPlanned({ get, now, viewersZone }: PlannedContext): Planned {
  const windows = signal<readonly WindowView[]>([]);
  const schedules = signal<readonly ScheduleView[]>([]);
  const calendar = signal<Calendar>({ entries: [], isWhole: true });
  const refusal = signal<string | undefined>(undefined);
  const zone = signal(viewersZone);
  const week = signal(0);
  let reads = 0;

  const readAll = async () => {
    reads += 1;
    const own = reads;
    const { from, days } = rangeOf(week.value, now(), zone.value);
    const [some, others, found] = await Promise.all([
      get<{ items: readonly WindowView[] }>("/api/v1/windows"),
      get<{ items: readonly ScheduleView[] }>("/api/v1/schedules"),
      get<Calendar>(`/api/v1/calendar?from=${Math.trunc(from)}&days=${days}`),
    ]);
    if (own !== reads) return; // somebody asked again meanwhile
    windows.value = some.items;
    schedules.value = others.items;
    calendar.value = found;
  };
  const attempt = async (work: () => Promise<unknown>) => {
    try {
      await work();
      await readAll();
      refusal.value = undefined;
    } catch (error) {
      refusal.value = error instanceof Error ? error.message : String(error);
    }
  };
  return {
    ...{ windows, schedules, calendar, refusal, zone, week, viewersZone, now, attempt },
    read: () => attempt(async () => undefined),
  };
}
