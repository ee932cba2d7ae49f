/**
 * Every setting, with its default and unit. One YAML file (`--config`), named
 * members only: a misspelt name is refused with its line of remedy, never
 * ignored. `main.ts` and `cli/main.ts` are the only readers of argv and the
 * environment.
 */

import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type Static, Type } from "typebox";
import { Value } from "typebox/value";
import { parseDocument } from "yaml";
import {
  type Ipv4Address,
  ipv4FromNumber,
  ipv4ToNumber,
  parseIpv4Address,
} from "#protocol/brand.ts";
import { discoveryGroup, discoveryPort } from "#protocol/discovery.ts";
import { type FirmwareName, firmwareNames } from "#protocol/firmware.ts";
import { ConfigurationError } from "./errors.ts";

const strict = { additionalProperties: false } as const;
const port = (value: number) => Type.Integer({ minimum: 1, maximum: 65535, default: value });
const address = Type.String({ pattern: "^\\d{1,3}(\\.\\d{1,3}){3}$" });
/** First and last address, both included. */
const range = Type.Tuple([address, address]);

const subnetSchema = Type.Object(
  {
    /** `10.77.0.0/24`; prefix length 8-30. */
    cidr: Type.String({ pattern: "^\\d{1,3}(\\.\\d{1,3}){3}/\\d{1,2}$" }),
    /** Interface whose clients get addresses of this subnet, and the only one they are answered on. */
    interface: Type.String({ minLength: 1, maxLength: 15 }),
    /** Addresses for reservations without one in the rack file. Must not overlap `pool`. */
    reserved: range,
    /** Addresses for nodes nobody knows yet; absent: unknown MAC addresses get no answer. */
    pool: Type.Optional(range),
    router: Type.Optional(address),
    dns: Type.Array(address, { default: [] }),
    /** Seconds, 120-86400. */
    leaseSeconds: Type.Integer({ minimum: 120, maximum: 86400, default: 3600 }),
  },
  strict,
);

const configSchema = Type.Object(
  {
    /** Journal, keys, images, Redis data. Relative paths are relative to the configuration file. */
    stateDirectory: Type.String({ default: "/var/lib/marcoboot" }),
    /** What `marcoboot netinst build` made: `<arch>/{kernel,stage1.cpio.zst,agent.squashfs,netinst.json}`. */
    netinstDirectory: Type.String({ default: "/var/cache/marcoboot/netinst" }),
    /** Boot loaders: `ipxe-x64.efi ipxe-arm64.efi undionly.kpxe` and `raspberry-pi/*`. */
    loadersDirectory: Type.String({ default: "/var/cache/marcoboot/loaders" }),
    logLevel: Type.Union(
      ["debug", "info", "warn", "error", "silent"].map((level) => Type.Literal(level)),
      { default: "info" },
    ),
    subnets: Type.Array(subnetSchema, { minItems: 1 }),
    dhcpPort: port(67),
    tftpPort: port(69),
    /** Plain HTTP on each subnet's interface: boot files, and images for a node that holds a ticket. */
    bootPort: port(8080),
    /** HTTPS with client certificates on each subnet's interface: agents. */
    agentPort: port(8443),
    /** Admin API and page. `<stateDirectory>/admin.sock` serves the same. */
    adminAddress: Type.String({ default: "127.0.0.1" }),
    adminPort: port(8000),
    discovery: Type.Object(
      { group: Type.String({ default: discoveryGroup }), port: port(discoveryPort) },
      { ...strict, default: {} },
    ),
    /** `redis://…` or `unix:///…`; absent: our own redis-server in the state directory. */
    redisUrl: Type.Optional(Type.String()),
    /** Minutes during which a powered-on or rebooted node may use its enrolment token, 1-60. */
    enrolmentMinutes: Type.Integer({ minimum: 1, maximum: 60, default: 10 }),
    /** Seconds a DHCP answer is held back, by firmware (`raspberry-pi-3: 2`); default: what the firmware is known to need. */
    replyDelaySeconds: Type.Unsafe<Partial<Record<FirmwareName, number>>>(
      Type.Object(
        Object.fromEntries(
          firmwareNames.map((name) => [
            name,
            Type.Optional(Type.Number({ minimum: 0, maximum: 10 })),
          ]),
        ),
        { ...strict, default: {} },
      ),
    ),
    /** Extra words for the netinst kernel line, e.g. `console=ttyS1,115200`. */
    kernelArguments: Type.Array(Type.String({ pattern: "^[A-Za-z0-9_.,:=/@+-]+$" }), {
      default: [],
    }),
  },
  strict,
);

export interface AddressRange {
  readonly first: Ipv4Address;
  readonly last: Ipv4Address;
}

export interface Subnet {
  readonly cidr: string;
  readonly network: Ipv4Address;
  readonly netmask: Ipv4Address;
  readonly broadcast: Ipv4Address;
  readonly interface: string;
  readonly reserved: AddressRange;
  readonly pool?: AddressRange;
  readonly router?: Ipv4Address;
  readonly dns: readonly Ipv4Address[];
  readonly leaseSeconds: number;
}

export interface Config
  extends Omit<Readonly<Static<typeof configSchema>>, "subnets" | "logLevel"> {
  readonly logLevel: string;
  readonly subnets: readonly Subnet[];
}

/** @throws ConfigurationError naming the file and the wrong member. */
export function readConfig(path: string): Config {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new ConfigurationError(`configuration ${path} cannot be read`, { cause });
  }
  return parseConfig(text, path);
}

/** @param path - where `text` came from: for messages and relative paths. */
export function parseConfig(text: string, path: string): Config {
  const document = parseDocument(text);
  const [syntax] = document.errors;
  if (syntax) throw new ConfigurationError(`${path}: ${syntax.message}`, { cause: syntax });
  const value = Value.Default(configSchema, document.toJS() ?? {});
  const [wrong] = Value.Errors(configSchema, value);
  if (wrong) {
    throw new ConfigurationError(
      `${path}: ${wrong.instancePath || "/"} ${wrong.message}${additional(wrong.params)}`,
    );
  }
  const raw = value as Static<typeof configSchema>;
  const here = dirname(resolve(path));
  return {
    ...raw,
    logLevel: String(raw.logLevel),
    stateDirectory: resolve(here, raw.stateDirectory),
    netinstDirectory: resolve(here, raw.netinstDirectory),
    loadersDirectory: resolve(here, raw.loadersDirectory),
    subnets: raw.subnets.map((subnet) => checkSubnet(subnet, path)),
  };
}

function additional(params: unknown): string {
  const names = (params as { additionalProperties?: readonly string[] }).additionalProperties;
  return names ? `: ${names.join(", ")}` : "";
}

function checkSubnet(raw: Static<typeof subnetSchema>, path: string): Subnet {
  const refuse = (reason: string) =>
    new ConfigurationError(`${path}: subnet ${raw.cidr}: ${reason}`);
  const [networkText = "", prefixText = ""] = raw.cidr.split("/");
  const prefix = Number(prefixText);
  if (prefix < 8 || prefix > 30) throw refuse(`prefix length ${prefix} is not 8-30`);
  const mask = (0xffff_ffff << (32 - prefix)) >>> 0;
  const network = ipv4ToNumber(parse(networkText, refuse));
  if ((network & mask) >>> 0 !== network) throw refuse("host bits are set in the network address");
  const inside = (text: string): Ipv4Address => {
    const one = parse(text, refuse);
    const number = ipv4ToNumber(one);
    if ((number & mask) >>> 0 !== network) throw refuse(`${text} is outside`);
    if (number === network || number === (network | ~mask) >>> 0) {
      throw refuse(`${text} is the network or broadcast address`);
    }
    return one;
  };
  const rangeOf = ([first, last]: readonly [string, string], name: string): AddressRange => {
    const range = { first: inside(first), last: inside(last) };
    if (ipv4ToNumber(range.first) > ipv4ToNumber(range.last)) {
      throw refuse(`${name} ends before it begins: ${first} - ${last}`);
    }
    return range;
  };
  const reserved = rangeOf(raw.reserved, "reserved");
  const pool = raw.pool && rangeOf(raw.pool, "pool");
  if (pool && overlaps(reserved, pool))
    throw refuse("pool overlaps reserved: give them separate ranges");
  return {
    cidr: raw.cidr,
    network: ipv4FromNumber(network),
    netmask: ipv4FromNumber(mask),
    broadcast: ipv4FromNumber((network | ~mask) >>> 0),
    interface: raw.interface,
    reserved,
    ...(pool && { pool }),
    ...(raw.router && { router: inside(raw.router) }),
    dns: raw.dns.map((one) => parse(one, refuse)),
    leaseSeconds: raw.leaseSeconds,
  };
}

function parse(text: string, refuse: (reason: string) => ConfigurationError): Ipv4Address {
  try {
    return parseIpv4Address(text);
  } catch {
    throw refuse(`${text} is not an IPv4 address`);
  }
}

function overlaps(a: AddressRange, b: AddressRange): boolean {
  return (
    ipv4ToNumber(a.first) <= ipv4ToNumber(b.last) && ipv4ToNumber(b.first) <= ipv4ToNumber(a.last)
  );
}
