/** Rows of a bench: medians, ratios, and how they are printed. */

export interface Row {
  readonly metric: string;
  /** Medians over the rounds; `undefined` where one did not survive. */
  readonly ours: number;
  readonly peer: number;
  readonly peerName: string;
  /** ours / peer. */
  readonly ratio: number;
  readonly unit: string;
  /** Of `unit`. */
  readonly better: "more" | "less";
  readonly rounds: number;
}

export interface Metric {
  readonly name: string;
  readonly unit: string;
  readonly better: "more" | "less";
}

/** One contender's values of one metric, one per round. */
export type Samples = ReadonlyMap<Metric, readonly number[]>;

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

/** One row for each metric and peer that has it. */
export function rowsOf(ours: Samples, peers: ReadonlyMap<string, Samples>): readonly Row[] {
  return [...ours].flatMap(([metric, own]) =>
    [...peers].flatMap(([peerName, samples]): Row[] => {
      const values = samples.get(metric);
      if (!values) return [];
      const [mine, theirs] = [median(own), median(values)];
      return [
        {
          metric: metric.name,
          ours: significant(mine),
          peer: significant(theirs),
          peerName,
          ratio: significant(mine / theirs),
          unit: metric.unit,
          better: metric.better,
          rounds: values.length,
        },
      ];
    }),
  );
}

/** Three digits: the rest is noise. */
export function significant(value: number): number {
  return Number(value.toPrecision(3));
}

export function tableOf(rows: readonly Row[]): string {
  const head = ["metric", "ours", "peer", "", "ratio", "unit", "better"];
  const lines = [
    head,
    ...rows.map((row) => [
      row.metric,
      String(row.ours),
      String(row.peer),
      row.peerName,
      String(row.ratio),
      row.unit,
      row.better,
    ]),
  ];
  const widths = head.map((_, column) =>
    Math.max(...lines.map((line) => line[column]?.length ?? 0)),
  );
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
