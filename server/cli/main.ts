/**
 * The `marcoboot` command: `serve` is the server, everything else a client of its API.
 *
 *   node scripts/bootstrap.mjs server/cli/main.ts NOUN VERB …
 */

import { runCommandLine } from "./run.ts";

const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    if (stopping.signal.aborted) process.exit(130); // asked twice
    stopping.abort();
  });
}
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0); // `| head` has seen enough
  throw error;
});

process.exitCode = await runCommandLine(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
  environment: process.env,
  signal: stopping.signal,
});
