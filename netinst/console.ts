/**
 * What the agent says to people: lines on stderr (the serial console in netinst, the journal in
 * the installed OS) and, for what a person must act on, on the screen too.
 *
 * The last lines are kept, so that a failed report can carry them.
 */

import { appendFileSync, fstatSync, statSync } from "node:fs";

export interface Console {
  /** What happens, for whoever follows along. */
  info(text: string): void;
  /** What a person in front of the machine must see: a refusal, a failure. */
  warn(text: string): void;
  /** Lines said since the last call, oldest first; at most 200. */
  take(): readonly string[];
}

export const mostKeptLines = 200;

/** Consoles beside stderr: `/dev/console` is only the last `console=` of the kernel line. */
const screens = ["/dev/console", "/dev/tty1"];

/** @param toScreens - write warnings to the machine's screens too (netinst as root only) */
export function openConsole(
  toScreens: boolean,
  write: (line: string) => void = (line) => void process.stderr.write(line),
): Console {
  const others = toScreens ? screens.filter((path) => !isStderr(path)) : [];
  let kept: string[] = [];
  let left = 0;
  const say = (text: string) => {
    const line = text.replaceAll(/[^\P{Cc}\t]/gu, "?");
    kept.push(line);
    if (kept.length > mostKeptLines) {
      kept.shift();
      left += 1;
    }
    write(`marcoboot: ${line}\n`);
    return line;
  };
  return {
    info: (text) => void say(text),
    warn: (text) => {
      const line = say(text);
      for (const path of others) appendLine(path, `marcoboot: ${line}\r\n`);
    },
    take: () => {
      const lines = left === 0 ? kept : [`(${left + 1} lines left out)`, ...kept.slice(1)];
      kept = [];
      left = 0;
      return lines;
    },
  };
}

function isStderr(path: string): boolean {
  try {
    const own = fstatSync(2);
    return own.isCharacterDevice() && statSync(path).rdev === own.rdev;
  } catch {
    return true; // no such screen: nothing to write to
  }
}

function appendLine(path: string, line: string): void {
  try {
    appendFileSync(path, line);
  } catch {
    // a screen that went away must not stop an install
  }
}
