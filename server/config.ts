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
import { discoveryGroup, discoveryPort, isGroup } from "#protocol/discovery.ts";
import { type FirmwareName, firmwareNames } from "#protocol/firmware.ts";
import { occasions, usualOccasions } from "#protocol/notice.ts";
import { ConfigurationError } from "./errors.ts";

const oneOccasion = Type.Enum(occasions);
const strict = { additionalProperties: false } as const;
const port = (value: number) => Type.Integer({ minimum: 1, maximum: 65535, default: value });
const address = Type.String({ pattern: "^\\d{1,3}(\\.\\d{1,3}){3}$" });
/** First and last address, both included. */
const range = Type.Tuple([address, address]);

const text = (maximum: number) => Type.String({ minLength: 1, maxLength: maximum });
const hostName = Type.String({
  pattern: "^[A-Za-z0-9_-]{1,63}(\\.[A-Za-z0-9_-]{1,63})*$",
  maxLength: 253,
});

/** A DHCP option sent as it stands. */
const optionSchema = Type.Object(
  {
    code: Type.Integer({ minimum: 1, maximum: 254 }),
    /** Exactly one of these: octets as `0a 4d 00 01`, characters, or addresses. */
    hex: Type.Optional(Type.String({ pattern: "^([0-9A-Fa-f]{2} ?)+$", maxLength: 3072 })),
    text: Type.Optional(text(1024)),
    addresses: Type.Optional(Type.Array(address, { minItems: 1, maxItems: 64 })),
  },
  strict,
);

/** Clients that are treated differently; the first class whose `match` fits counts. */
const classSchema = Type.Object(
  {
    name: text(64),
    /** All that are given must fit. */
    match: Type.Object(
      {
        /** How option 60 begins, e.g. `PXEClient:Arch:00009`. */
        vendorClass: Type.Optional(text(255)),
        /** Any of these in option 93. */
        architectures: Type.Optional(
          Type.Array(Type.Integer({ minimum: 0, maximum: 65535 }), { minItems: 1 }),
        ),
        /** `dc:a6:32` or longer. */
        macPrefix: Type.Optional(
          Type.String({ pattern: "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){0,5}$" }),
        ),
      },
      { ...strict, minProperties: 1 },
    ),
    /** False: its firmware gets no answer, so that it goes on to its next boot source. */
    boot: Type.Boolean({ default: true }),
    /** False: nodes nobody knows get no address of the pool. */
    pool: Type.Boolean({ default: true }),
    options: Type.Array(optionSchema, { default: [], maxItems: 32 }),
  },
  strict,
);

/** A command that operators may run on nodes by its name. */
const commandSchema = Type.Object(
  {
    about: Type.Optional(text(200)),
    /** Program and arguments; one that is `{name}`, and nothing else, is the value of that name. */
    argv: Type.Array(text(4096), { minItems: 1, maxItems: 256 }),
    /** Pattern that each value must fit as a whole: `package: "[a-z0-9.+-]+"`. */
    values: Type.Record(Type.String({ pattern: "^[a-z][a-zA-Z0-9]{0,30}$" }), text(500), {
      ...strict,
      default: {},
    }),
    timeoutSeconds: Type.Integer({ minimum: 1, maximum: 86_400, default: 600 }),
  },
  { ...strict, default: {} }, // members of a record get their defaults only beside one of their own
);

/** Members of every way to tell people. */
const channelMembers = {
  name: Type.String({ pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$" }),
  /** What is told. */
  on: Type.Array(oneOccasion, { default: [...usualOccasions], uniqueItems: true }),
};

const webhookSchema = Type.Object(
  {
    ...channelMembers,
    /** Signed JSON is posted there; server/notify/channels/webhook.ts shows it. */
    url: Type.String({ pattern: "^https?://[^\\s@]+$", maxLength: 2000 }),
    /** Key of the signature, 16 characters or more, in a file of its own. */
    secretFile: text(4096),
  },
  strict,
);

const emailSchema = Type.Object(
  {
    ...channelMembers,
    host: hostName,
    port: port(587),
    security: Type.Union([Type.Literal("tls"), Type.Literal("starttls"), Type.Literal("none")], {
      default: "starttls",
    }),
    user: Type.Optional(text(320)),
    passwordFile: Type.Optional(text(4096)),
    from: text(320),
    to: Type.Array(text(320), { minItems: 1, maxItems: 32 }),
  },
  strict,
);

/** A switch that knows at which of its ports a board hangs; its secrets are in files (mode 0600). */
const switchSchema = Type.Object(
  {
    /** Before the slash of a slot's `port: sw1/gi1/0/7`; with one switch alone it may be left out. */
    name: Type.String({ pattern: "^[A-Za-z0-9_-]{1,32}$" }),
    kind: Type.Enum(["snmp-bridge"], { default: "snmp-bridge" }),
    host: Type.String({ pattern: "^[A-Za-z0-9](?:[A-Za-z0-9.:_-]{0,252}[A-Za-z0-9])?$" }),
    port: port(161),
    version: Type.Enum(["1", "2c", "3"], { default: "2c" }),
    communityFile: Type.Optional(text(4096)),
    user: Type.Optional(text(32)),
    authProtocol: Type.Enum(["none", "md5", "sha", "sha256", "sha512"], { default: "sha" }),
    authKeyFile: Type.Optional(text(4096)),
    privProtocol: Type.Enum(["none", "aes", "aes256b", "aes256r"], { default: "aes" }),
    privKeyFile: Type.Optional(text(4096)),
  },
  strict,
);

const subnetModes = ["reservation", "dynamic", "proxy", "auto", "off"] as const;

const subnetSchema = Type.Object(
  {
    /** `10.77.0.0/24`; prefix length 8-30. */
    cidr: Type.String({ pattern: "^\\d{1,3}(\\.\\d{1,3}){3}/\\d{1,2}$" }),
    /** Interface whose clients get addresses of this subnet, and the only one they are answered on. */
    interface: Type.String({ minLength: 1, maxLength: 15 }),
    /**
     * `reservation`: only nodes with a reservation get an address. `dynamic`: others get one of
     * `pool`. `proxy`: another DHCP server gives the addresses, we add what is needed to boot.
     * `auto`: serves while no other DHCP server is heard, else as `proxy`. `off`: no DHCP.
     * Default: `dynamic` where a `pool` is given, else `reservation`.
     */
    mode: Type.Optional(Type.Enum(subnetModes)),
    /** Addresses for reservations without one in the rack file. Must not overlap `pool`. Not needed in `proxy` and `off`. */
    reserved: Type.Optional(range),
    /** Addresses for nodes nobody knows yet; absent: unknown MAC addresses get no answer. */
    pool: Type.Optional(range),
    /** Relay agents (`giaddr`) whose clients are answered; others' are not. */
    relays: Type.Array(address, { default: [] }),
    router: Type.Optional(address),
    dns: Type.Array(address, { default: [] }),
    domainName: Type.Optional(hostName),
    domainSearch: Type.Array(hostName, { default: [], maxItems: 32 }),
    ntp: Type.Array(address, { default: [] }),
    /** Static routes; with one or more, clients take their default route from them too (RFC 3442). */
    routes: Type.Array(
      Type.Object(
        { to: Type.String({ pattern: "^\\d{1,3}(\\.\\d{1,3}){3}/\\d{1,2}$" }), via: address },
        strict,
      ),
      { default: [], maxItems: 64 },
    ),
    classes: Type.Array(classSchema, { default: [], maxItems: 64 }),
    /**
     * Whether UEFI nodes get the signed loaders (shim, GRUB) in place of iPXE. `auto`: those
     * whose firmware was seen to refuse iPXE, which is what Secure Boot does.
     */
    secureBoot: Type.Union([Type.Literal("auto"), Type.Literal("always"), Type.Literal("never")], {
      default: "auto",
    }),
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
    /** Where PXE firmware asks for its boot file in mode `proxy` (PXE 2.1). */
    proxyPort: port(4011),
    /** iPXE is told that there is no IPv6 router, for which its BIOS ROM waits 16 s in every boot. */
    routerAdvertisements: Type.Boolean({ default: true }),
    /** MAC address prefixes of boards whose firmware says nothing better: `"2c:cf:67": raspberry-pi-5`. Added to those known. */
    raspberryPiPrefixes: Type.Unsafe<Readonly<Record<string, FirmwareName>>>(
      Type.Record(
        Type.String({ pattern: "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){2}$" }),
        Type.Enum(firmwareNames.filter((name) => name.startsWith("raspberry-pi"))),
        { ...strict, default: {} },
      ),
    ),
    tftpPort: port(69),
    /** The TFTP server of each interface. */
    tftp: Type.Object(
      {
        /** 128 nodes with two files each, and room for the slow ones. */
        transfers: Type.Integer({ minimum: 1, maximum: 4096, default: 512 }),
        /** A firmware has one or two at a time; a Raspberry Pi 3 opens a file twice. */
        transfersPerPeer: Type.Integer({ minimum: 1, maximum: 64, default: 4 }),
        /** Grant a blksize above the interface's MTU: IPv4 fragments, which few boot ROMs put together. */
        allowFragments: Type.Boolean({ default: false }),
        /**
         * `batched`: a thread with many datagrams per system call, windows cut by the kernel;
         * `unsegmented`: without the cutting; `portable`: Node's own sockets. What the machine
         * cannot do falls back to the next by itself.
         */
        engine: Type.Union(
          [Type.Literal("batched"), Type.Literal("unsegmented"), Type.Literal("portable")],
          { default: "batched" },
        ),
      },
      { ...strict, default: {} },
    ),
    /** Plain HTTP on each subnet's interface: boot files, and images for a node that holds a ticket. */
    bootPort: port(8080),
    /** What the boot HTTP listener of one interface holds at once. */
    bootHttp: Type.Object(
      {
        /** 128 nodes with iPXE, stage 1 and agent at once, and room. */
        connections: Type.Integer({ minimum: 16, maximum: 65536, default: 1024 }),
        /** Of one address; a node needs two. More where nodes come through an address translation. */
        connectionsPerClient: Type.Integer({ minimum: 4, maximum: 65536, default: 16 }),
        /** A connection on which nothing moves. Longer than a board's pause while it writes to a slow card. */
        idleSeconds: Type.Integer({ minimum: 10, maximum: 3600, default: 120 }),
      },
      { ...strict, default: {} },
    ),
    /** HTTPS with client certificates on each subnet's interface: agents. */
    agentPort: port(8443),
    /** The agents of installed systems. */
    agent: Type.Object(
      {
        /** They fetch the program that this server has, and run it in their own place. */
        selfUpdate: Type.Boolean({ default: true }),
        /** So many at a time, once the first one has called again with it. */
        updatesAtOnce: Type.Integer({ minimum: 1, maximum: 512, default: 4 }),
      },
      { ...strict, default: {} },
    ),
    /** Admin API and page. `<stateDirectory>/admin.sock` serves the same. */
    adminAddress: Type.String({ default: "127.0.0.1" }),
    adminPort: port(8000),
    discovery: Type.Object(
      {
        /** Mesh in which nodes look for the server: an IPv4 multicast group; by IPv6 its twin. */
        group: Type.String({ default: discoveryGroup }),
        /** Further meshes the server answers in. */
        groups: Type.Array(Type.String(), { default: [], maxItems: 16 }),
        port: port(discoveryPort),
        /** Service files: what this machine offers besides, each signed by the site's key. */
        services: Type.String({ default: "/etc/marcoboot/services" }),
        /** Announce the server and its services by DNS-SD and multicast DNS too. */
        dnsSd: Type.Boolean({ default: true }),
      },
      { ...strict, default: {} },
    ),
    /** UDP port on which nodes' boot logs are heard (NETCONSOLE, netconsole); 0: not heard. */
    netconsolePort: Type.Integer({ minimum: 0, maximum: 65535, default: 6666 }),
    /** `redis://…` or `unix:///…`; absent: our own redis-server in the state directory. */
    redisUrl: Type.Optional(Type.String()),
    /** Minutes during which a powered-on or rebooted node may use its enrolment token, 1-60. */
    enrolmentMinutes: Type.Integer({ minimum: 1, maximum: 60, default: 10 }),
    /** Days a node's certificate counts; agents renew theirs when a third is left. */
    certificateDays: Type.Integer({ minimum: 1, maximum: 3650, default: 90 }),
    /** Silence in the middle of a job after which another attempt begins. */
    silenceSeconds: Type.Integer({ minimum: 10, maximum: 7200, default: 180 }),
    /** Within so long a system that was installed or updated must call; after two thirds of it an update goes back by itself. */
    firstBootSeconds: Type.Integer({ minimum: 10, maximum: 7200, default: 900 }),
    /** In-rush: at most so many nodes are switched on within so many seconds. */
    power: Type.Object(
      {
        onAtOnce: Type.Integer({ minimum: 1, maximum: 512, default: 4 }),
        onEverySeconds: Type.Number({ minimum: 0, maximum: 60, default: 1 }),
      },
      { ...strict, default: {} },
    ),
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
    /** What operators may run on nodes, by name; any other program is for admins. */
    commands: Type.Record(Type.String({ pattern: "^[a-z][a-z0-9-]{0,62}$" }), commandSchema, {
      ...strict,
      default: {},
    }),
    /** How nodes on which no agent calls are reached; each that is installed gets the server's key. */
    ssh: Type.Object(
      {
        port: port(22),
        user: Type.String({ minLength: 1, maxLength: 32, default: "root" }),
        /** False: what is installed does not get the server's key, and is reached by its agent alone. */
        installKey: Type.Boolean({ default: true }),
      },
      { ...strict, default: {} },
    ),
    /** Ways to tell people of what needs them; none: the page and the API alone. */
    notifications: Type.Object(
      {
        webhook: Type.Array(webhookSchema, { default: [], maxItems: 16 }),
        email: Type.Array(emailSchema, { default: [], maxItems: 16 }),
      },
      { ...strict, default: {} },
    ),
    /** Switches that are asked where boards hang while a rack is learned. */
    switches: Type.Array(switchSchema, { default: [], maxItems: 64 }),
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

export type SubnetMode = (typeof subnetModes)[number];

export interface Route {
  readonly network: Ipv4Address;
  readonly prefix: number;
  readonly via: Ipv4Address;
}

export interface ClientClass {
  readonly name: string;
  readonly match: {
    readonly vendorClass?: string;
    readonly architectures?: readonly number[];
    /** Lower case. */
    readonly macPrefix?: string;
  };
  readonly boot: boolean;
  readonly pool: boolean;
  readonly options: readonly (readonly [code: number, value: Uint8Array])[];
}

/** A range without an address: it ends before it begins. */
export const noAddresses: AddressRange = {
  first: ipv4FromNumber(1),
  last: ipv4FromNumber(0),
};

export interface Subnet {
  readonly cidr: string;
  readonly network: Ipv4Address;
  readonly netmask: Ipv4Address;
  readonly broadcast: Ipv4Address;
  readonly interface: string;
  readonly mode: SubnetMode;
  /** {@link noAddresses} where the configuration names none. */
  readonly reserved: AddressRange;
  readonly pool?: AddressRange;
  readonly relays: readonly Ipv4Address[];
  readonly router?: Ipv4Address;
  readonly dns: readonly Ipv4Address[];
  readonly domainName?: string;
  readonly domainSearch: readonly string[];
  readonly ntp: readonly Ipv4Address[];
  readonly routes: readonly Route[];
  readonly classes: readonly ClientClass[];
  readonly secureBoot: "auto" | "always" | "never";
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
    commands: checkCommands(raw.commands, path),
    switches: raw.switches.map((one) => ({
      ...one,
      ...(one.communityFile !== undefined && { communityFile: resolve(here, one.communityFile) }),
      ...(one.authKeyFile !== undefined && { authKeyFile: resolve(here, one.authKeyFile) }),
      ...(one.privKeyFile !== undefined && { privKeyFile: resolve(here, one.privKeyFile) }),
    })),
    notifications: {
      webhook: raw.notifications.webhook.map((one) => ({
        ...one,
        secretFile: resolve(here, one.secretFile),
      })),
      email: raw.notifications.email.map((one) => ({
        ...one,
        ...(one.passwordFile !== undefined && { passwordFile: resolve(here, one.passwordFile) }),
      })),
    },
    raspberryPiPrefixes: Object.fromEntries(
      Object.entries(raw.raspberryPiPrefixes).map(([prefix, name]) => [prefix.toLowerCase(), name]),
    ),
    discovery: checkDiscovery(raw.discovery, here, path),
    subnets: raw.subnets.map((subnet) => checkSubnet(subnet, path)),
  };
}

function checkDiscovery(
  raw: Static<typeof configSchema>["discovery"],
  here: string,
  path: string,
): Config["discovery"] {
  const wrong = [raw.group, ...raw.groups].find((group) => !isGroup(group));
  if (wrong === undefined) return { ...raw, services: resolve(here, raw.services) };
  throw new ConfigurationError(
    `${path}: discovery: ${wrong} is no multicast address, 224.0.0.0 to 239.255.255.255`,
  );
}

/** @throws ConfigurationError for a pattern that is none, or a value that nothing says how to fill */
function checkCommands<Commands extends Record<string, Static<typeof commandSchema>>>(
  commands: Commands,
  path: string,
): Commands {
  for (const [name, { argv, values }] of Object.entries(commands)) {
    const refuse = (reason: string) =>
      new ConfigurationError(`${path}: command ${name}: ${reason}`);
    for (const [value, pattern] of Object.entries(values)) {
      try {
        new RegExp(`^(?:${pattern})$`, "u");
      } catch (cause) {
        throw refuse(`${pattern} of ${value} is not a pattern: ${(cause as Error).message}`);
      }
      if (!argv.includes(`{${value}}`)) throw refuse(`no argument is {${value}}`);
    }
    const unknown = argv.find((one) => /^\{\w+\}$/.test(one) && !(one.slice(1, -1) in values));
    if (unknown !== undefined) throw refuse(`${unknown} has no pattern in values`);
  }
  return commands;
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
  const mode = raw.mode ?? (raw.pool ? "dynamic" : "reservation");
  if (!raw.reserved && mode !== "proxy" && mode !== "off") {
    throw refuse(`mode ${mode} needs reserved: [first, last]`);
  }
  if (mode === "dynamic" && !raw.pool) throw refuse("mode dynamic needs pool: [first, last]");
  const reserved = raw.reserved ? rangeOf(raw.reserved, "reserved") : noAddresses;
  const pool = raw.pool && rangeOf(raw.pool, "pool");
  if (pool && raw.reserved && overlaps(reserved, pool))
    throw refuse("pool overlaps reserved: give them separate ranges");
  return {
    cidr: raw.cidr,
    network: ipv4FromNumber(network),
    netmask: ipv4FromNumber(mask),
    broadcast: ipv4FromNumber((network | ~mask) >>> 0),
    interface: raw.interface,
    mode,
    reserved,
    ...(pool && { pool }),
    relays: raw.relays.map((one) => parse(one, refuse)),
    ...(raw.router && { router: inside(raw.router) }),
    dns: raw.dns.map((one) => parse(one, refuse)),
    ...(raw.domainName && { domainName: raw.domainName }),
    domainSearch: raw.domainSearch,
    ntp: raw.ntp.map((one) => parse(one, refuse)),
    routes: raw.routes.map((one) => checkRoute(one, refuse)),
    classes: raw.classes.map((one) => checkClass(one, refuse)),
    secureBoot: raw.secureBoot,
    leaseSeconds: raw.leaseSeconds,
  };
}

function checkRoute(
  { to, via }: { readonly to: string; readonly via: string },
  refuse: (reason: string) => ConfigurationError,
): Route {
  const [networkText = "", prefixText = ""] = to.split("/");
  const network = parse(networkText, refuse);
  const prefix = Number(prefixText);
  if (prefix > 32) throw refuse(`route ${to}: prefix length ${prefix} is not 0-32`);
  const hostBits = prefix === 32 ? 0 : 0xffff_ffff >>> prefix;
  if ((ipv4ToNumber(network) & hostBits) !== 0) throw refuse(`route ${to}: host bits are set`);
  return { network, prefix, via: parse(via, refuse) };
}

/** What the server says itself, or what frames the message: no class may replace it. */
const ownOptions: readonly number[] = [50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 61, 82];

function checkClass(
  raw: Static<typeof classSchema>,
  refuse: (reason: string) => ConfigurationError,
): ClientClass {
  const { vendorClass, architectures, macPrefix } = raw.match;
  return {
    name: raw.name,
    match: {
      ...(vendorClass !== undefined && { vendorClass }),
      ...(architectures && { architectures }),
      ...(macPrefix !== undefined && { macPrefix: macPrefix.toLowerCase() }),
    },
    boot: raw.boot,
    pool: raw.pool,
    options: raw.options.map(({ code, hex, text, addresses }) => {
      const where = `class ${raw.name}: option ${code}`;
      if (ownOptions.includes(code)) throw refuse(`${where} is the server's own`);
      if ([hex, text, addresses].filter((one) => one !== undefined).length !== 1) {
        throw refuse(`${where} needs one of hex, text and addresses`);
      }
      if (hex !== undefined) return [code, Uint8Array.fromHex(hex.replaceAll(" ", ""))] as const;
      if (text !== undefined) return [code, new TextEncoder().encode(text)] as const;
      const octets = (addresses ?? []).flatMap((one) => parse(one, refuse).split(".").map(Number));
      return [code, Uint8Array.from(octets)] as const;
    }),
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
