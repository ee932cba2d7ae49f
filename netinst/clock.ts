/**
 * Sets a clock that is plainly wrong: a board without a battery begins in 1970. Trust needs no
 * clock (certificates of the site have no dates that count), but files and logs of the install do.
 */

import type { Console } from "./console.ts";
import { runTool } from "./tools.ts";

const dayMs = 24 * 3600 * 1000;

/** @param now - the server's clock, told over TLS that the pinned key vouches for */
export async function correctClock(now: number, console: Console): Promise<void> {
  if (Math.abs(Date.now() - now) < dayMs) return;
  await runTool("date", ["-u", "-s", `@${Math.round(now / 1000)}`]);
  console.info(`the clock was wrong by more than a day; set to ${new Date(now).toISOString()}`);
}
