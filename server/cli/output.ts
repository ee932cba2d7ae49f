/** Data on stdout, talk on stderr: a table on a terminal, tab-separated in a pipe, JSON when asked. */

import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";

export interface Streams {
  readonly stdout: { write(text: string): unknown; readonly isTTY?: boolean };
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean };
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
}

export type Cell = string | number | undefined;

export interface Output {
  /** Somebody sits there and can be asked. */
  readonly isInteractive: boolean;
  readonly isJson: boolean;
  /** One document with `--json`; else rows under `columns`. */
  table(columns: readonly string[], rows: readonly (readonly Cell[])[], value: unknown): void;
  /** One document with `--json`; else `text`. */
  value(value: unknown, text: string): void;
  /** One line of a stream: NDJSON with `--json`. */
  line(value: unknown, text: string): void;
  say(text: string): void;
  /** Replaces itself on a terminal; on others nothing is written. */
  progress(text: string): void;
  ask(question: string): Promise<string>;
  /** What is typed is not shown. */
  askSecret(question: string): Promise<string>;
  /** All of stdin, for passwords and files. */
  readInput(): Promise<string>;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is removed
const controls = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** Names and log lines come from nodes: they shall not move the cursor. */
export function clean(text: string): string {
  return text.replaceAll(controls, "");
}

export function createOutput(streams: Streams, options: { json: boolean; quiet: boolean }): Output {
  const { stdout, stderr, stdin } = streams;
  let progressShown = false;
  const clearProgress = () => {
    if (progressShown) stderr.write("\r\u001b[K");
    progressShown = false;
  };
  const print = (text: string) => {
    clearProgress();
    stdout.write(`${text}\n`);
  };
  return {
    isInteractive: stdin.isTTY === true && stderr.isTTY === true,
    isJson: options.json,
    table(columns, rows, value) {
      if (options.json) return print(JSON.stringify(value, null, 2));
      const texts = rows.map((row) => row.map((cell) => clean(String(cell ?? "-"))));
      if (stdout.isTTY !== true) {
        for (const row of texts) print(row.join("\t"));
        return undefined;
      }
      for (const line of layOut([columns.map((name) => name.toUpperCase()), ...texts])) print(line);
      return undefined;
    },
    value: (value, text) => print(options.json ? JSON.stringify(value, null, 2) : text),
    line: (value, text) => print(options.json ? JSON.stringify(value) : clean(text)),
    say(text) {
      if (options.quiet) return;
      clearProgress();
      stderr.write(`${text}\n`);
    },
    progress(text) {
      if (options.quiet || stderr.isTTY !== true) return;
      stderr.write(`\r\u001b[K${clean(text).slice(0, 160)}`);
      progressShown = true;
    },
    async ask(question) {
      const lines = createInterface({ input: stdin, output: stderr as NodeJS.WriteStream });
      try {
        return await lines.question(question);
      } finally {
        lines.close();
      }
    },
    async askSecret(question) {
      stderr.write(question);
      const dark = new Writable({ write: (_chunk, _encoding, done) => done() });
      const lines = createInterface({ input: stdin, output: dark, terminal: true });
      try {
        return await lines.question("");
      } finally {
        lines.close();
        stderr.write("\n");
      }
    },
    async readInput() {
      let text = "";
      for await (const part of stdin) text += String(part);
      return text;
    },
  };
}

/** Columns two spaces apart; the last one is not padded. */
function layOut(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
