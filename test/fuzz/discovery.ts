/**
 * The long run: `node test/fuzz/discovery.ts [--datagrams 1000000] [--seed 1]`.
 * Prints one line of JSON; exit code 1 when something happened that must not.
 */

import { parseArgs } from "node:util";
import { fuzzDiscovery } from "./discovery-fuzz.ts";

const { values } = parseArgs({
  options: {
    datagrams: { type: "string", default: "1000000" },
    seed: { type: "string", default: "1" },
  },
});
const started = performance.now();
const report = fuzzDiscovery({ seed: Number(values.seed), datagrams: Number(values.datagrams) });
const seconds = Math.round((performance.now() - started) / 1000);
process.stdout.write(`${JSON.stringify({ ...report, seed: Number(values.seed), seconds })}\n`);
process.exitCode = report.faults.length > 0 ? 1 : 0;
