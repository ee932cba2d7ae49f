/** A sane clock: certificates and enrolment windows depend on it. */

import { statSync } from "node:fs";
import { join } from "node:path";
import type { Finding } from "#protocol/timeline.ts";
import { type Check, type CheckContext, fine, hint, problem } from "../check.ts";
import { durationText } from "../words.ts";

/** No machine that runs this is older than this file. */
const earliest = Date.UTC(2026, 0, 1);
const tolerance = 60_000;

export const clockCheck: Check = {
  name: "clock",
  async examine(context) {
    const now = context.clock.now();
    const remedy = "set it: timedatectl set-ntp true, or chronyd";
    if (now < earliest) {
      return [problem("clock-wrong", `the clock says ${new Date(now).toISOString()}`, remedy)];
    }
    const written = newestFile(context);
    if (written !== undefined && written > now + tolerance) {
      return [
        problem(
          "clock-went-back",
          `the clock is ${durationText(written - now)} behind what the journal was written at`,
          remedy,
        ),
      ];
    }
    return [await synchronised()];
  },
};

function newestFile({ config }: CheckContext): number | undefined {
  try {
    return statSync(join(config.stateDirectory, "marcoboot.db")).mtimeMs;
  } catch {
    return undefined; // never started
  }
}

/** struct timex on 64-bit Linux: 208 octets; `status` is the fifth field of eight octets' alignment. */
const timexOctets = 208;
const statusAt = 40;
const unsynchronised = 0x0040; // STA_UNSYNC

/** What the kernel was told by an NTP client: adjtimex(2) with nothing to change. */
async function synchronised(): Promise<Finding> {
  const { default: koffi } = await import("koffi");
  const adjtimex = koffi.load(null).func("int adjtimex(void *)");
  const timex = Buffer.alloc(timexOctets);
  const result = Number(adjtimex(timex));
  if (result < 0 || (timex.readInt32LE(statusAt) & unsynchronised) !== 0) {
    return hint(
      "clock-not-synchronised",
      "nothing keeps the clock right (no NTP)",
      "timedatectl set-ntp true, or install chrony: certificates fail when clocks differ",
    );
  }
  return fine("clock", "the clock is kept right by NTP");
}
