/**
 * Everything the agent must know before it talks to anyone.
 *
 * Defaults are those of netinst and of the installed OS; each has a flag, so that the agent also
 * runs as a plain process with a file as its disk (tests, simulated racks):
 *
 *   --role netinst|resident   --site FILE          --identity-dir DIR   --cmdline TEXT
 *   --interface NAME          --address IPV4       --mac MAC            --boot-id TEXT
 *   --server-url HTTPS-URL    --authority PEMFILE  (both: no discovery)
 *   --disk-file FILE          --simulate           (power verbs end the process: 10 reboot, 11 shutdown;
 *                                                   FILE.root/ plays the mounted root file system)
 *   --services DIR          --architecture amd64|arm64  (of the machine that is simulated)
 *   --agent-image FILE        --unreachable-seconds N
 *   --home DIR                --trial            (where the resident agent's program lies, and whether
 *                                                 it was never run here before: self-update.ts)
 */

import { existsSync, readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { parseArgs } from "node:util";
import { discoveryGroup, discoveryPort } from "#protocol/discovery.ts";
import type { Architecture } from "#protocol/firmware.ts";
import type { AgentRole } from "#protocol/node.ts";
import { AgentError } from "./errors.ts";
import type { AgentHome } from "./self-update.ts";

/** site.json: put into the initramfs by the server, and copied to the installed OS. */
export interface Site {
  /** base64 of the raw 32-octet ed25519 public key: the one thing trusted from the start. */
  readonly serverKey: string;
  readonly discovery: { readonly group: string; readonly port: number };
  /** Only in the installed OS: hardware address of the interface to use. */
  readonly mac?: string;
}

export interface Settings {
  readonly role: AgentRole;
  readonly site: Site;
  readonly architecture: Architecture;
  /** Holds node.pem and site.json once the node is enrolled. */
  readonly identityDirectory: string;
  readonly interface: string;
  /** IPv4 address of the interface when it was named outright; else it is read when needed. */
  readonly address?: string;
  readonly mac: string;
  readonly bootId: string;
  /** `http://10.77.0.1:8080` from `marcoboot.url=`. */
  readonly bootUrl?: string;
  /** One-time token from `marcoboot.enrol=`. */
  readonly token?: string;
  readonly server?: { readonly url: string; readonly authority: string };
  readonly diskFile?: string;
  readonly simulate: boolean;
  /** Service files: what this node offers by discovery; absent: /etc/marcoboot/services. */
  readonly servicesDirectory?: string;
  /** Squashfs of this agent, copied to the installed OS; absent: no resident agent is installed. */
  readonly agentImage?: string;
  /** Of the resident agent; absent: its program is somebody else's business. */
  readonly home?: AgentHome;
  /** Netinst restarts the machine when no server was heard for so long. */
  readonly unreachableMs: number;
}

const netinstSite = "/etc/marcoboot/site.json";
export const identityDefault = "/var/lib/marcoboot/identity";
const interfaceFile = "/run/marcoboot/interface";
const agentImageDefault = "/run/stage2";

/** @throws AgentError naming the flag or file that is wrong. */
export function readSettings(args: readonly string[]): Settings {
  const { values } = parseArgs({
    args: [...args],
    options: {
      role: { type: "string" },
      site: { type: "string" },
      "identity-dir": { type: "string" },
      cmdline: { type: "string" },
      interface: { type: "string" },
      address: { type: "string" },
      mac: { type: "string" },
      "boot-id": { type: "string" },
      "server-url": { type: "string" },
      authority: { type: "string" },
      "disk-file": { type: "string" },
      simulate: { type: "boolean" },
      architecture: { type: "string" },
      "agent-image": { type: "string" },
      home: { type: "string" },
      trial: { type: "boolean" },
      services: { type: "string" },
      "unreachable-seconds": { type: "string" },
    },
  });
  const role = parseRole(values.role ?? "netinst");
  const identityDirectory = values["identity-dir"] ?? identityDefault;
  const site = readSite(
    values.site ?? (role === "netinst" ? netinstSite : `${identityDirectory}/site.json`),
  );
  const words = parseCommandLine(values.cmdline ?? readText("/proc/cmdline") ?? "");
  const wantedMac = values.mac ?? site.mac ?? words.get("marcoboot.mac");
  const interfaceName =
    values.interface ?? readText(interfaceFile)?.trim() ?? interfaceWithMac(wantedMac);
  const agentImage =
    values["agent-image"] ?? (existsSync(agentImageDefault) ? agentImageDefault : undefined);
  return {
    role,
    site,
    architecture: parseArchitecture(values.architecture ?? process.arch),
    identityDirectory,
    interface: interfaceName,
    mac: (
      wantedMac ??
      readText(`/sys/class/net/${interfaceName}/address`)?.trim() ??
      ""
    ).toLowerCase(),
    bootId: values["boot-id"] ?? readText("/proc/sys/kernel/random/boot_id")?.trim() ?? "unknown",
    simulate: values.simulate ?? false,
    unreachableMs: parseSeconds(values["unreachable-seconds"] ?? "1200") * 1000,
    ...present({
      address: values.address,
      bootUrl: words.get("marcoboot.url"),
      token: words.get("marcoboot.enrol"),
      server: readServer(values["server-url"], values.authority),
      diskFile: values["disk-file"],
      servicesDirectory: values.services,
      home: values.home === undefined ? undefined : homeOf(values.home, values.trial ?? false),
      agentImage,
    }),
  };
}

function homeOf(directory: string, isTrial: boolean): AgentHome {
  return { directory, isTrial };
}

/** The members that have a value. */
function present<Members extends object>(
  members: Members,
): { [Name in keyof Members]?: Exclude<Members[Name], undefined> } {
  const given = Object.entries(members).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as {
    [Name in keyof Members]?: Exclude<Members[Name], undefined>;
  };
}

function parseRole(text: string): AgentRole {
  if (text !== "netinst" && text !== "resident") {
    throw new AgentError(`--role must be netinst or resident, not ${JSON.stringify(text)}`);
  }
  return text;
}

/** @param text - as Debian or as Node calls it */
function parseArchitecture(text: string): Architecture {
  if (text === "arm64") return "arm64";
  if (text === "amd64" || text === "x64") return "amd64";
  throw new AgentError(`--architecture must be amd64 or arm64, not ${JSON.stringify(text)}`);
}

function parseSeconds(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) {
    throw new AgentError(
      `--unreachable-seconds must be a positive number, not ${JSON.stringify(text)}`,
    );
  }
  return value;
}

function readServer(
  url: string | undefined,
  authorityFile: string | undefined,
): { url: string; authority: string } | undefined {
  if (url === undefined) return undefined;
  if (authorityFile === undefined) {
    throw new AgentError("--server-url needs --authority: no certificate is trusted without it");
  }
  return { url, authority: readFileSync(authorityFile, "utf8") };
}

/** @throws AgentError if the file is missing or has no server key. */
export function readSite(path: string): Site {
  const text = readText(path);
  if (text === undefined) throw new AgentError(`no site file at ${path}`);
  return parseSite(text, path);
}

export function parseSite(text: string, path: string): Site {
  const value = JSON.parse(text) as Partial<Site>;
  if (typeof value.serverKey !== "string") {
    throw new AgentError(`${path} names no serverKey: there is nothing to trust`);
  }
  return {
    serverKey: value.serverKey,
    discovery: {
      group: value.discovery?.group ?? discoveryGroup,
      port: value.discovery?.port ?? discoveryPort,
    },
    ...(value.mac === undefined ? {} : { mac: value.mac }),
  };
}

/** `name=value` words of the kernel line; of a repeated name the last counts, as in the kernel. */
export function parseCommandLine(text: string): ReadonlyMap<string, string> {
  return new Map(
    text
      .trim()
      .split(/\s+/)
      .map((word) => {
        const at = word.indexOf("=");
        return at < 0 ? [word, ""] : [word.slice(0, at), word.slice(at + 1)];
      }),
  );
}

function interfaceWithMac(mac: string | undefined): string {
  const all = Object.entries(networkInterfaces());
  const found = all.find(([, addresses]) =>
    addresses?.some((address) => address.mac === mac?.toLowerCase()),
  );
  if (found === undefined) {
    throw new AgentError(
      `no interface with address ${mac ?? "(none named)"}; there are: ${all.map(([name]) => name).join(", ")}`,
    );
  }
  return found[0];
}

/** First IPv4 address of an interface; undefined while it has none. */
export function interfaceAddress(name: string): string | undefined {
  return networkInterfaces()[name]?.find((address) => address.family === "IPv4")?.address;
}

/** Undefined if the file cannot be read. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
