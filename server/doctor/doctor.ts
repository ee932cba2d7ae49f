/**
 * The doctor: everything that keeps a rack from booting and can be seen from
 * the server's machine. Works with and without a running server.
 */

import type { Finding } from "#protocol/timeline.ts";
import type { Check, CheckContext } from "./check.ts";
import { backupCheck } from "./checks/backup.ts";
import { bootFilesCheck } from "./checks/boot-files.ts";
import { capabilitiesCheck } from "./checks/capabilities.ts";
import { clockCheck } from "./checks/clock.ts";
import { diskCheck } from "./checks/disk.ts";
import { firewallCheck } from "./checks/firewall.ts";
import { interfacesCheck } from "./checks/interfaces.ts";
import { othersCheck } from "./checks/others.ts";
import { portsCheck } from "./checks/ports.ts";
import { redisCheck } from "./checks/redis.ts";
import { switchesCheck } from "./checks/switches.ts";
import { boundSockets, holdersOf, type Machine } from "./machine.ts";

const checks: readonly Check[] = [
  interfacesCheck,
  portsCheck,
  capabilitiesCheck,
  firewallCheck,
  othersCheck,
  switchesCheck,
  clockCheck,
  diskCheck,
  backupCheck,
  redisCheck,
  bootFilesCheck,
];

export interface Examination {
  readonly checks: readonly { readonly name: string; readonly findings: readonly Finding[] }[];
  /** No finding is a problem. */
  readonly isHealthy: boolean;
}

/** @param onCheck - called as each check ends, in their order */
export async function examine(
  context: CheckContext,
  onCheck?: (name: string, findings: readonly Finding[]) => void,
): Promise<Examination> {
  // Those that listen take their time: all run together.
  const running = checks.map(async (check) => ({
    name: check.name,
    findings: await findingsOf(check, context),
  }));
  const done: Examination["checks"][number][] = [];
  for (const one of running) {
    const ended = await one;
    done.push(ended);
    onCheck?.(ended.name, ended.findings);
  }
  const isHealthy = done.every(({ findings }) =>
    findings.every(({ severity }) => severity !== "problem"),
  );
  return { checks: done, isHealthy };
}

/** The only catch of the checks. */
async function findingsOf(check: Check, context: CheckContext): Promise<readonly Finding[]> {
  try {
    return await check.examine(context);
  } catch (error) {
    context.log.debug({ err: error, check: check.name }, "check failed");
    const reason = error instanceof Error ? error.message : String(error);
    return [
      {
        code: "check-failed",
        severity: "hint",
        text: `${check.name} could not be looked at: ${reason}`,
        remedy: "run the doctor as root",
      },
    ];
  }
}

/** The process that serves DHCP here, if it is a marcoboot. */
export function runningServer(machine: Machine, dhcpPort: number): number | undefined {
  const sockets = boundSockets(machine).filter(
    ({ protocol, port }) => protocol === "udp" && port === dhcpPort,
  );
  const holders = holdersOf(machine, new Set(sockets.map(({ inode }) => inode)));
  return [...holders.values()].find(({ isMarcoboot }) => isMarcoboot)?.pid;
}
