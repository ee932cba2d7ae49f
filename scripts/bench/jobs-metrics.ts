/** What the jobs bench measures; `bar` is what it must not be worse than. */

import type { Metric } from "./rows.ts";

export const nodeCount = 10_000;
export const scheduleCount = 100_000;

export const jobMetrics = {
  stored: { name: "10000 tasks stored", unit: "ms", better: "less", bar: 2000 },
  dispatchable: { name: "10000 tasks dispatchable", unit: "ms", better: "less", bar: 2000 },
  rate: { name: "tasks carried out", unit: "tasks/s", better: "more", bar: 500 },
  perTask: { name: "time per task", unit: "ms", better: "less" },
  cancel: { name: "cancel of 48 running tasks", unit: "ms", better: "less", bar: 5000 },
  scheduler: { name: "start with 100000 schedules", unit: "ms", better: "less", bar: 2000 },
} as const satisfies Readonly<Record<string, Metric & { readonly bar?: number }>>;

export type JobMetricName = keyof typeof jobMetrics;
export type JobValues = Readonly<Partial<Record<JobMetricName, number>>>;
