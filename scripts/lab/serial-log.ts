/** A guest's serial console as a file of lines with a time stamp each, and to whoever listens. */

import { createWriteStream, type WriteStream } from "node:fs";

export interface SerialLog {
  /** Bytes as the guest sent them. */
  write(chunk: Buffer): void;
  /** A remark of the laboratory's own: power on, reset. */
  note(text: string): void;
  /** The last lines, without stamps. */
  tail(count: number): readonly string[];
  close(): void;
}

/** Lines kept in memory for `tail`. */
const keptLines = 400;
/** A login prompt has no newline: what stands this long counts as a line. A busy guest stops in the middle of one. */
const promptMs = 5000;
// biome-ignore lint/suspicious/noControlCharactersInRegex: terminal control sequences are what is removed
const controls = /\x1b(?:\[[0-9;?=]*[A-Za-z@]|[()][A-Z0-9]|[=>c78])|[\x00-\x08\x0b-\x1f\x7f]/g;

export function openSerialLog(path: string, onLine: (line: string) => void): SerialLog {
  const file: WriteStream = createWriteStream(path, { flags: "a" });
  const kept: string[] = [];
  let partial = "";
  let timer: NodeJS.Timeout | undefined;
  const line = (text: string) => {
    const clean = text.replace(controls, "").trimEnd();
    if (clean === "") return;
    file.write(`${new Date().toISOString()} ${clean}\n`);
    kept.push(clean);
    if (kept.length > keptLines) kept.shift();
    onLine(clean);
  };
  const flush = () => {
    const text = partial;
    partial = "";
    line(text);
  };
  /** After a standstill of this process the timer comes before the input that waited: it is read first. */
  const flushIfQuiet = () => {
    const seen = partial;
    setImmediate(() => {
      if (partial === seen) flush();
    });
  };
  return {
    write(chunk) {
      clearTimeout(timer);
      const lines = (partial + chunk.toString("utf8")).split("\n");
      partial = lines.pop() ?? "";
      for (const one of lines) line(one);
      if (partial !== "") timer = setTimeout(flushIfQuiet, promptMs).unref();
    },
    note: (text) => line(`-- ${text} --`),
    tail: (number) => kept.slice(-number),
    close() {
      clearTimeout(timer);
      flush();
      file.end();
    },
  };
}
