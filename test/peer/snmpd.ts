/** Debian's snmpd on a free port of 127.0.0.1, gone when the test ends. */

import { execFileSync, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import { milliseconds } from "#protocol/brand.ts";
import { systemClock } from "../../server/clock.ts";
import { freeUdpPort } from "../support/free-udp-port.ts";

/** Read-only, for asking whether it lives. */
const probe = "alive";

/**
 * @param lines - of snmpd.conf(5), beside one community of ours
 * @returns its port
 */
export async function startSnmpd(
  t: ExecutionContext,
  directory: string,
  lines: readonly string[],
): Promise<number> {
  const file = join(directory, "snmpd.conf");
  writeFileSync(file, `${[`rocommunity ${probe} 127.0.0.1`, ...lines].join("\n")}\n`);
  const port = await freeUdpPort();
  const daemon = spawn("snmpd", ["-f", "-LE", "3", "-C", "-c", file, `udp:127.0.0.1:${port}`], {
    env: { PATH: "/usr/sbin:/usr/bin:/bin", SNMP_PERSISTENT_DIR: directory },
    stdio: "ignore",
  });
  t.teardown(async () => {
    const ended = new Promise((resolve) => daemon.once("exit", resolve));
    daemon.kill("SIGKILL"); // it does not hear SIGTERM while it waits for a table
    await ended;
  });
  for (let round = 0; !answers(port); round++) {
    if (round === 300) throw new Error("snmpd does not answer");
    await systemClock.sleep(milliseconds(100));
  }
  return port;
}

function answers(port: number): boolean {
  const args = ["-v", "2c", "-c", probe, "-t", "1", "-r", "0", `127.0.0.1:${port}`];
  try {
    execFileSync("snmpget", [...args, "1.3.6.1.2.1.1.3.0"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
