/** Runs a command line as a shell would, against a test server or none. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { runCommandLine } from "../../server/cli/run.ts";
import type { TestServer } from "../http/support.ts";

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** @param token - kept in the file that the command line reads */
export async function run(
  words: readonly string[],
  server?: TestServer,
  options: {
    token?: string;
    stdin?: string;
    isTerminal?: boolean;
    directory?: string;
    environment?: Readonly<Record<string, string>>;
  } = {},
): Promise<Ran> {
  let out = "";
  let err = "";
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), "marcoboot-cli-"));
  const tokenFile = join(directory, "token");
  if (options.token !== undefined) writeFileSync(tokenFile, options.token);
  const code = await runCommandLine(words, {
    stdout: { write: (text) => (out += text), isTTY: options.isTerminal ?? false },
    stderr: { write: (text) => (err += text), isTTY: false },
    stdin: Readable.from([options.stdin ?? ""]) as NodeJS.ReadableStream,
    environment: {
      ...options.environment,
      MARCOBOOT_TOKEN_FILE: tokenFile,
      ...(server && { MARCOBOOT_STATE: server.directory }),
    },
    signal: new AbortController().signal,
  });
  if (options.directory === undefined) rmSync(directory, { recursive: true });
  return { code, out, err };
}
