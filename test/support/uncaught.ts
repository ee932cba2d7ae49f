/**
 * Loaded by AVA in the thread of every test file: an error that nobody catches is reported with its
 * file. Without frames on its stack, as the file system's and OpenSSL's errors are, AVA's TAP
 * reporter fails on it and the whole run ends with no word about it.
 */

import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";

process.on("uncaughtExceptionMonitor", (error) => {
  if (!(error instanceof Error)) return;
  const file = relative(process.cwd(), fileURLToPath(test.meta.file));
  const [title = String(error), ...frames] = (error.stack ?? String(error)).split("\n");
  if (frames.length === 0) frames.push(`    at ${file}`);
  error.stack = [`${title} (nobody caught it; ${file})`, ...frames].join("\n");
});
