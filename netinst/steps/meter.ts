/** Turns "so many octets are done" into progress with a rate. */

import type { Stage } from "#protocol/job.ts";
import type { Reporter } from "../report.ts";

/** @returns a function to call with the octets done so far; it tells the reporter four times a second at most */
export function meter(
  stage: Stage,
  total: number,
  reporter: Pick<Reporter, "progress">,
): (done: number) => void {
  const begin = performance.now();
  let last = begin;
  reporter.progress(stage, 0);
  return (done) => {
    const now = performance.now();
    if (done < total && now - last < 250) return;
    last = now;
    const seconds = Math.max((now - begin) / 1000, 0.001);
    reporter.progress(stage, total === 0 ? 100 : (done / total) * 100, done / seconds);
  };
}
