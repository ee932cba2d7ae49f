/** A bench from end to end, as short as it can be: the rows are there, not good. */

import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import test from "ava";
import type { Row } from "../../scripts/bench/rows.ts";
import { benchPackages } from "../../scripts/setup/needs.ts";
import { missingPackages } from "../../scripts/setup/packages.ts";

const reason = whatIsMissing();
if (reason) console.warn(`skipped: ${reason}`);
const bench = reason ? test.skip : test.serial;
const run = promisify(execFile);
const script = join(import.meta.dirname, "..", "..", "scripts", "bench.ts");

bench("the TFTP bench fetches whole files from our server and both peers", async (t) => {
  const options = ["--rounds", "1", "--seconds", "0.2", "--only", "throughput w4", "--json"];
  const { stdout } = await run(process.execPath, [script, "tftp", ...options]);
  const rows = JSON.parse(stdout) as readonly Row[];
  t.deepEqual(
    rows.map(({ metric, peerName, unit }) => [metric, peerName.replace(/ .*/, ""), unit]),
    [
      ["throughput w4 c48", "tftpd-hpa", "MB/s"],
      ["throughput w4 c48", "dnsmasq", "MB/s"],
      ["cpu per MB w4 c48", "tftpd-hpa", "ms/MB"],
      ["cpu per MB w4 c48", "dnsmasq", "ms/MB"],
    ],
  );
  for (const { ours, peer, ratio } of rows) {
    t.true(ours > 0 && peer > 0 && ratio > 0);
  }
});

function whatIsMissing(): string | undefined {
  if (process.getuid?.() !== 0) return "root is needed for network namespaces";
  const absent = missingPackages(benchPackages);
  return absent.length > 0 ? `not installed: ${absent.join(", ")}` : undefined;
}
