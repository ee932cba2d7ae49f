/** One thing the doctor looks at. */

import type { Ipv4Address, Milliseconds } from "#protocol/brand.ts";
import type { Finding } from "#protocol/timeline.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Log } from "../log.ts";
import type { Machine } from "./machine.ts";

export interface Check {
  readonly name: string;
  /** May throw: that becomes a finding of its own. */
  examine(context: CheckContext): Promise<readonly Finding[]>;
}

/** Another server on the wire, as the running marcoboot has recorded it. */
export interface RecordedServer {
  readonly interface: string;
  readonly kind: "dhcp" | "proxy-dhcp";
  readonly address: Ipv4Address;
}

export interface CheckContext {
  readonly config: Config;
  readonly machine: Machine;
  readonly clock: Clock;
  readonly log: Log;
  /** How long to listen on the wire. */
  readonly listen: Milliseconds;
  /**
   * `this`: the doctor runs inside the server. `other`: a server runs here, it
   * watches the wire itself. `none`: we may ask the wire.
   */
  readonly server:
    | { readonly kind: "this"; readonly heard: readonly RecordedServer[] }
    | { readonly kind: "other"; readonly pid: number }
    | { readonly kind: "none" };
  readonly signal: AbortSignal;
}

export function problem(code: string, text: string, remedy: string): Finding {
  return { code, severity: "problem", text, remedy };
}

export function hint(code: string, text: string, remedy: string): Finding {
  return { code, severity: "hint", text, remedy };
}

export function fine(code: string, text: string): Finding {
  return { code, severity: "ok", text };
}

/** Interfaces the configuration names, each once. */
export function interfacesOf({ config }: Pick<CheckContext, "config">): readonly string[] {
  return [...new Set(config.subnets.map((subnet) => subnet.interface))];
}

/** The first IPv4 address of an interface. */
export function addressOf({ machine }: Pick<CheckContext, "machine">, name: string) {
  return machine.addresses()[name]?.find(({ family }) => family === "IPv4")?.address as
    | Ipv4Address
    | undefined;
}
