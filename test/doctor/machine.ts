/** A machine made of a directory tree, for the checks of the doctor. */

import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import type { NetworkInterfaceInfo } from "node:os";
import { dirname, join } from "node:path";
import type { ExecutionContext } from "ava";
import { milliseconds } from "#protocol/brand.ts";
import type { Finding } from "#protocol/timeline.ts";
import { systemClock } from "../../server/clock.ts";
import { parseConfig } from "../../server/config.ts";
import type { Check, CheckContext } from "../../server/doctor/check.ts";
import { createMachine, type Machine } from "../../server/doctor/machine.ts";
import { silentLog } from "../../server/log.ts";
import { temporaryDirectory } from "../support/temporary.ts";

/** A file's text, or `-> target` for a symbolic link. */
export type Tree = Readonly<Record<string, string>>;

/** A healthy eth1 with 10.77.0.1/24. */
export const eth1: Tree = {
  "sys/class/net/eth1/ifindex": "2",
  "sys/class/net/eth1/flags": "0x1003",
  "sys/class/net/eth1/carrier": "1",
  "sys/class/net/eth1/mtu": "1500",
  "sys/class/net/eth1/speed": "1000",
  "sys/class/net/eth1/duplex": "full",
};

export interface World {
  readonly tree?: Tree;
  /** Of eth1. */
  readonly address?: string;
  readonly settings?: string;
  readonly server?: CheckContext["server"];
  readonly programs?: Readonly<Record<string, string>>;
}

export function machineOf(
  t: ExecutionContext,
  { tree = eth1, address = "10.77.0.1", programs = {} }: World,
): Machine {
  const root = temporaryDirectory(t);
  for (const [path, text] of Object.entries(tree)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    if (text.startsWith("-> ")) symlinkSync(text.slice(3), join(root, path));
    else writeFileSync(join(root, path), `${text}\n`);
  }
  const info = { address, family: "IPv4" } as NetworkInterfaceInfo;
  return {
    ...createMachine(root),
    addresses: () => (address === "" ? {} : { eth1: [info] }),
    run: async (program) => programs[program],
    pid: 4711,
  };
}

export function contextOf(t: ExecutionContext, world: World): CheckContext {
  const directory = temporaryDirectory(t);
  const subnet = "{ cidr: 10.77.0.0/24, interface: eth1, reserved: [10.77.0.10, 10.77.0.99] }";
  return {
    config: parseConfig(
      `{ stateDirectory: ., loadersDirectory: loaders, netinstDirectory: netinst, ${world.settings ?? `subnets: [${subnet}]`} }`,
      join(directory, "marcoboot.yaml"),
    ),
    machine: machineOf(t, world),
    clock: systemClock,
    log: silentLog,
    listen: milliseconds(0),
    server: world.server ?? { kind: "none" },
    signal: new AbortController().signal,
  };
}

export async function codesOf(check: Check, context: CheckContext): Promise<readonly string[]> {
  return (await check.examine(context)).map(short);
}

export function short({ severity, code }: Finding): string {
  return `${severity} ${code}`;
}
