/**
 * Loaded by AVA in the thread of every test file, for what its TAP reporter does not tell:
 *
 * - An error that nobody catches is reported with its file. Without frames on its stack, as the file
 *   system's and OpenSSL's errors are, the reporter fails on it and the whole run ends without a word.
 * - A file that goes on after its last test (a server or timer left open) is ended and counts as
 *   failed. The reporter would wait for the run's time limit and then say nothing at all.
 */

import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import test, { registerCompletionHandler } from "ava";

/** How long a file may take to close what its tests left, in ms. */
const CLOSING_MS = 20_000;

const file = () => relative(process.cwd(), fileURLToPath(test.meta.file));

process.on("uncaughtExceptionMonitor", (error) => {
  if (!(error instanceof Error)) return;
  const [title = String(error), ...frames] = (error.stack ?? String(error)).split("\n");
  if (frames.length === 0) frames.push(`    at ${file()}`);
  error.stack = [`${title} (nobody caught it; ${file()})`, ...frames].join("\n");
});

registerCompletionHandler(() => {
  const open = () => {
    const left = process.getActiveResourcesInfo().join(", ");
    process.stderr.write(`${file()}: its tests have ended, but it is kept open by: ${left}\n`);
    // After a turn, so that the line still leaves the thread.
    setTimeout(() => process.exit(1), 100);
  };
  setTimeout(open, CLOSING_MS).unref();
});
