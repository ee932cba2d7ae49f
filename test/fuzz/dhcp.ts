/**
 * The long run: `node --expose-gc test/fuzz/dhcp.ts [--packets 10000000] [--seed 1]`.
 * Prints one line of JSON; exit code 1 when something happened that must not.
 */

import { parseArgs } from "node:util";
import { fuzzDhcp } from "./dhcp-fuzz.ts";

const { values } = parseArgs({
  options: {
    packets: { type: "string", default: "10000000" },
    seed: { type: "string", default: "1" },
  },
});
const packets = Number(values.packets);
const started = performance.now();
const report = fuzzDhcp({
  seed: Number(values.seed),
  packets,
  onProgress: (tried) => process.stderr.write(`\r${tried} of ${packets}`),
});
process.stderr.write("\n");
const seconds = Math.round((performance.now() - started) / 1000);
process.stdout.write(`${JSON.stringify({ ...report, seed: Number(values.seed), seconds })}\n`);
process.exitCode = report.faults.length > 0 ? 1 : 0;
