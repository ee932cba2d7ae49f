/**
 * The server's part in discovery on one interface: offers the install server and the services of
 * the service files, signed by the site's key.
 *
 * By IPv4 its sockets belong to the interface, so that another network reaches nothing, not even
 * by our address; by IPv6 they have link-local addresses, which do the same.
 */

import { type Ipv4Address, ipv4ToNumber, parseIpv4Address } from "#protocol/brand.ts";
import { installService, type ServerParams } from "#protocol/discovery.ts";
import type { Clock } from "../clock.ts";
import type { Config, Subnet } from "../config.ts";
import type { Site } from "../enrol/authority.ts";
import { ConfigurationError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { openDatagramSocket } from "../net/udp.ts";
import { announce } from "./shared/dns-sd/announce.ts";
import { type Kept, keepOnLinks } from "./shared/keep.ts";
import { listen } from "./shared/listen.ts";
import { createResponder, type DiscoveryOutcome } from "./shared/responder.ts";
import type { Service } from "./shared/services.ts";
import { type Link, linksOf, type OpenSocket, openSocket } from "./shared/sockets.ts";

export interface DiscoveryMetrics {
  question(interfaceName: string, outcome: DiscoveryOutcome): void;
}

export interface Discovery {
  /** How many datagrams ended how, since the start. */
  counts(): Readonly<Record<DiscoveryOutcome, number>>;
  close(): Promise<void>;
}

export interface DiscoveryContext {
  readonly config: Pick<Config, "discovery" | "subnets">;
  readonly interfaceName: string;
  readonly address: Ipv4Address;
  readonly site: Pick<Site, "sign" | "keyId" | "authorityPem">;
  readonly bootUrl: string;
  readonly agentUrl: string;
  /** The server's name for people, shown by the agent. */
  readonly hostname: string;
  /** Of the service files, as they are at the moment. */
  readonly services: () => readonly Service[];
  readonly log: Log;
  readonly clock: Clock;
  readonly openSocket: typeof openDatagramSocket;
  /** Tests have none of the machine's. */
  readonly ipv6Links?: () => readonly Link[];
  readonly metrics?: DiscoveryMetrics;
}

/** @throws ConfigurationError when no subnet names the interface, or its port is taken. */
export async function startDiscovery(context: DiscoveryContext): Promise<Discovery> {
  const { config, interfaceName, site, log, clock, hostname } = context;
  const subnets = config.subnets.filter((subnet) => subnet.interface === interfaceName);
  if (subnets.length === 0) {
    throw new ConfigurationError(`no subnet names the interface ${interfaceName}`);
  }
  const install: ServerParams = {
    url: context.agentUrl,
    bootUrl: context.bootUrl,
    hostname,
    authority: site.authorityPem,
  };
  const own: Service = { id: installService, params: { ...install }, groups: [] };
  const counts: Record<DiscoveryOutcome, number> = {
    answered: 0,
    malformed: 0,
    "other-service": 0,
    "foreign-source": 0,
    "too-often": 0,
  };
  const ipv4: Link = {
    interface: interfaceName,
    family: 4,
    address: context.address,
    reaches: (address) => subnets.some((subnet) => isInside(parseIpv4Address(address), subnet)),
  };
  const ipv6 =
    context.ipv6Links ?? (() => linksOf(interfaceName).filter(({ family }) => family === 6));
  const listening = await listen({
    responder: createResponder({
      signer: () => ({ key: site.keyId, sign: (text) => site.sign(text) }),
      host: () => ({ hostname, role: "server" }),
      services: () => [own, ...context.services()],
    }),
    links: () => [ipv4, ...ipv6()],
    groups: () => [
      ...new Set([
        config.discovery.group,
        ...config.discovery.groups,
        ...context.services().flatMap(({ groups }) => groups),
      ]),
    ],
    port: config.discovery.port,
    monotonic: () => clock.monotonic(),
    every: (period, work) => clock.every(period, work),
    open: opener(context),
    onQuestion(outcome, from, port) {
      counts[outcome]++;
      context.metrics?.question(interfaceName, outcome);
      log.debug({ from, port, outcome }, "discovery question");
    },
    onTrouble: ({ address }, error) =>
      log.debug({ err: error, interface: interfaceName, address }, "no discovery here yet"),
  });
  const announcing = config.discovery.dnsSd ? startDnsSd(context, [ipv4], ipv6) : undefined;
  return {
    counts: () => ({ ...counts }),
    async close() {
      await Promise.all([announcing?.close(), listening.close()]);
    },
  };
}

/** For other programs' browsers; where that cannot be, nodes find the server all the same. */
function startDnsSd(
  context: DiscoveryContext,
  ipv4: readonly Link[],
  ipv6: () => readonly Link[],
): Kept {
  const { interfaceName, site, hostname, clock, log } = context;
  const { agentUrl: url, bootUrl: boot } = context;
  const port = Number(new URL(url).port || 443); // a URL leaves its usual port out
  const params = { port, key: site.keyId, url, boot };
  const own: Service = { id: installService, params, groups: [] };
  const name = hostname.split(".")[0] ?? hostname;
  const label = `${name.replaceAll(/[^A-Za-z0-9-]/g, "-").slice(0, 40)}-${site.keyId.slice(0, 8)}`;
  const links = () => [...ipv4, ...ipv6()];
  return keepOnLinks({
    links: () => new Map(links().map((link) => [link.address, link])),
    open: (link) =>
      announce({
        link,
        services: () => [own, ...context.services()],
        host: { name, label, addresses: links().map(({ address }) => address) },
        open: opener(context),
        monotonic: () => clock.monotonic(),
        sleep: (duration, signal) => clock.sleep(duration, signal),
        onNamed: (as) =>
          log.info({ interface: interfaceName, address: link.address, as }, "announced by DNS-SD"),
      }),
    every: (period, work) => clock.every(period, work),
    onTrouble: ({ address }, error) =>
      log.debug({ err: error, interface: interfaceName, address }, "no DNS-SD here yet"),
  });
}

function opener({
  openSocket: openIpv4,
  log,
}: {
  readonly openSocket: typeof openDatagramSocket;
  readonly log: Log;
}): OpenSocket {
  return (link, options) => {
    if (link.family === 6) return openSocket(link, options);
    const { port, group, hops = 1 } = options;
    const interfaceAddress = parseIpv4Address(link.address);
    const where = { interface: link.interface, address: group ?? link.address, port, reuse: true };
    return openIpv4(
      { ...where, ...(group !== undefined && { multicast: { group, interfaceAddress, hops } }) },
      log,
    );
  };
}

function isInside(address: Ipv4Address, subnet: Subnet): boolean {
  const mask = ipv4ToNumber(subnet.netmask);
  return (ipv4ToNumber(address) & mask) >>> 0 === (ipv4ToNumber(subnet.network) & mask) >>> 0;
}
