/**
 * Datagrams of netconsole put together to lines, per sender, in bounded memory.
 *
 * Two kinds of senders: a Raspberry Pi's EEPROM sends its boot log as it writes
 * it, several lines or a piece of one at a time; Linux sends a record in one
 * datagram (`<6>text`), or in its extended form, cut where it is too long:
 *
 *   6,416,1758426,-,ncfrag=0/33;text        level, number, microseconds, flags
 *
 * Pure: bytes and a time in, lines out (test/netconsole/lines.test.ts).
 */

import type { Milliseconds } from "#protocol/brand.ts";

/** A line longer than this is told in pieces. */
const maxLine = 500;
/** A line whose end has not come is told as it is after so long. */
const patience = 2000;

export interface LineAssembler {
  /** Takes a datagram; gives the lines it ended. */
  take(sender: string, bytes: Uint8Array, now: Milliseconds): readonly string[];
  /** What senders began and did not end in time. */
  overdue(now: Milliseconds): readonly (readonly [sender: string, line: string])[];
}

interface Rest {
  readonly text: string;
  readonly since: Milliseconds;
}

/** @param senders - how many unfinished lines are kept; the oldest is forgotten first */
export function createLineAssembler(senders: number): LineAssembler {
  const rests = new Map<string, Rest>();
  return {
    take(sender, bytes, now) {
      const before = rests.get(sender);
      rests.delete(sender);
      const text = (before?.text ?? "") + record(Buffer.from(bytes).toString("latin1"));
      const pieces = text.split(/\r?\n|\r/);
      const rest = pieces.pop() ?? "";
      const lines = pieces.flatMap(cut);
      if (rest.length >= maxLine) lines.push(...cut(rest));
      else if (rest !== "") rests.set(sender, { text: rest, since: before?.since ?? now });
      if (rests.size > senders) {
        const [oldest] = rests.keys();
        if (oldest !== undefined) rests.delete(oldest);
      }
      return lines;
    },
    overdue(now) {
      const late = [...rests].filter(([, { since }]) => now - since >= patience);
      for (const [sender] of late) rests.delete(sender);
      return late.flatMap(([sender, { text }]) => cut(text).map((line) => [sender, line] as const));
    },
  };
}

/** Without Linux' header; a fragment goes on where the last one ended. */
function record(text: string): string {
  const extended = /^\d{1,3},\d+,\d+,(?<flags>[^;]{0,60});/.exec(text);
  if (extended) {
    const [at, of] = (/ncfrag=(\d+)\/(\d+)/.exec(extended.groups?.["flags"] ?? "") ?? [])
      .slice(1)
      .map(Number);
    // indented lines are the record's dictionary (` SUBSYSTEM=…`): for programs
    const body = text.slice(extended[0].length).replaceAll(/\n [^\n]*/g, "");
    const isLast = at === undefined || of === undefined || at + body.length >= of;
    return isLast && !body.endsWith("\n") ? `${body}\n` : body;
  }
  return text.replace(/^<\d{1,3}>/, "");
}

/** A node chooses these bytes: nothing but printable characters leaves this file. */
function cut(line: string): readonly string[] {
  const clean = line.replaceAll(/[^\x20-\x7e]+/g, " ").trimEnd();
  const pieces: string[] = [];
  for (let at = 0; at < clean.length; at += maxLine) pieces.push(clean.slice(at, at + maxLine));
  return pieces;
}
