/**
 * The long run: `node --expose-gc test/fuzz/tftp.ts [--datagrams 10000000] [--seed 1]`.
 * Prints one line of JSON; exit code 1 when something happened that must not.
 */

import { parseArgs } from "node:util";
import { fuzzTftp } from "./tftp-fuzz.ts";

const { values } = parseArgs({
  options: {
    datagrams: { type: "string", default: "10000000" },
    seed: { type: "string", default: "1" },
  },
});
const datagrams = Number(values.datagrams);
const started = performance.now();
const report = fuzzTftp({
  seed: Number(values.seed),
  datagrams,
  onProgress: (tried) => process.stderr.write(`\r${tried} of ${datagrams}`),
});
process.stderr.write("\n");
const seconds = Math.round((performance.now() - started) / 1000);
process.stdout.write(`${JSON.stringify({ ...report, seed: Number(values.seed), seconds })}\n`);
process.exitCode = report.faults.length > 0 || report.amplification > 0 ? 1 : 0;
