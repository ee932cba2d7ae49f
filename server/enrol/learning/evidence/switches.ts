/**
 * The switches of the configuration, asked on which port a board hangs. One file
 * per way to ask; `sources` is the list of them.
 */

import type { MacAddress } from "#protocol/brand.ts";
import type { Rack } from "#protocol/rack.ts";
import type { Config } from "../../../config.ts";
import { ConfigurationError, ProvisionError } from "../../../errors.ts";
import type { Log } from "../../../log.ts";
import { type AgentSettings, checkAgent } from "../../../power/snmp.ts";
import { readPrivate } from "../../../store/durable-file.ts";
import type { LearningContext } from "../context.ts";
import { portSlot } from "./port.ts";
import { createSnmpBridge } from "./snmp-bridge.ts";

/** Something that knows where hardware addresses are heard. */
export interface PortSource {
  /**
   * Every way the port of each is written; who is not heard is left out.
   *
   * @throws ProvisionError when it cannot be asked
   */
  portsOf(
    macs: readonly MacAddress[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<MacAddress, readonly string[]>>;
}

const sources = { "snmp-bridge": createSnmpBridge } as const;

interface Switch {
  readonly name: string;
  readonly source: PortSource;
}

/**
 * @returns undefined where no switch is configured
 * @throws ConfigurationError when a secret's file is not there, or a setting is missing
 */
export async function openSwitches(
  settings: Config["switches"],
  log: Log,
): Promise<NonNullable<LearningContext["locate"]> | undefined> {
  if (settings.length === 0) return undefined;
  const switches = await Promise.all(settings.map(open));
  return (rack, macs, signal) => locate({ switches, log }, rack, macs, signal);
}

async function open(one: Config["switches"][number]): Promise<Switch> {
  const { name, kind, communityFile, authKeyFile, privKeyFile, user, ...rest } = one;
  const agent: AgentSettings = {
    ...rest,
    ...(user !== undefined && { user }),
    ...(communityFile !== undefined && { community: await secretIn(communityFile) }),
    ...(authKeyFile !== undefined && { authKey: await secretIn(authKeyFile) }),
    ...(privKeyFile !== undefined && { privKey: await secretIn(privKeyFile) }),
  };
  try {
    checkAgent(agent);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigurationError(`switch ${name}: ${reason} (as a file: …File)`, { cause });
  }
  return { name, source: sources[kind](agent) };
}

async function secretIn(path: string): Promise<string> {
  const text = await readPrivate(path);
  if (text === undefined) throw new ConfigurationError(`${path} is not there: a switch needs it`);
  return text.trim();
}

/** A board that two switches place differently is at neither: one of the ports is a trunk. */
async function locate(
  { switches, log }: { readonly switches: readonly Switch[]; readonly log: Log },
  rack: Rack,
  macs: readonly MacAddress[],
  signal: AbortSignal,
): Promise<ReadonlyMap<MacAddress, string>> {
  const places = new Map<MacAddress, Set<string>>();
  if (macs.length === 0) return new Map();
  await Promise.all(
    switches.map(async ({ name, source }) => {
      for (const [mac, writings] of await ask({ name, source }, macs, signal, log)) {
        const named = writings.map((port) => `${name}/${port}`);
        const known = switches.length === 1 ? [...named, ...writings] : named;
        const port = known.find((one) => portSlot(rack, one) !== undefined);
        if (port !== undefined) places.set(mac, (places.get(mac) ?? new Set()).add(port));
      }
    }),
  );
  return new Map(
    [...places].flatMap(([mac, ports]) => {
      const [port] = ports;
      return ports.size === 1 && port !== undefined ? [[mac, port] as const] : [];
    }),
  );
}

/** A switch that does not answer tells nothing: learning goes on without. */
async function ask(
  { name, source }: Switch,
  macs: readonly MacAddress[],
  signal: AbortSignal,
  log: Log,
): Promise<ReadonlyMap<MacAddress, readonly string[]>> {
  try {
    return await source.portsOf(macs, signal);
  } catch (error) {
    if (!(error instanceof ProvisionError)) throw error;
    log.warn({ err: error, switch: name }, "switch cannot be asked for its ports");
    return new Map();
  }
}
