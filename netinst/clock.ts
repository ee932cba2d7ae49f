/**
 * Sets a clock that is plainly wrong. A Raspberry Pi starts in 1970 and would find the server's
 * certificate not yet valid. No time before the site existed can be true; the server's own idea of
 * the time (the Date header of its boot listener) is taken only in that case.
 */

import { X509Certificate } from "node:crypto";
import type { Console } from "./console.ts";
import { runTool } from "./tools.ts";

/** @param authority - PEM of the site's authority, already believed */
export async function correctClock(
  authority: string,
  bootUrl: string,
  console: Console,
  signal: AbortSignal,
): Promise<void> {
  const begin = new X509Certificate(authority).validFromDate.getTime();
  if (Date.now() >= begin) return;
  const told = await serverTime(bootUrl, signal);
  const now = Math.max(begin + 1000, told ?? 0);
  await runTool("date", ["-u", "-s", `@${Math.ceil(now / 1000)}`]);
  console.info(`the clock was before the site's beginning; set to ${new Date(now).toISOString()}`);
}

async function serverTime(bootUrl: string, signal: AbortSignal): Promise<number | undefined> {
  try {
    const answer = await fetch(bootUrl, {
      method: "HEAD",
      signal: AbortSignal.any([signal, AbortSignal.timeout(5000)]),
    });
    const time = Date.parse(answer.headers.get("date") ?? "");
    return Number.isNaN(time) ? undefined : time;
  } catch {
    return undefined;
  }
}
