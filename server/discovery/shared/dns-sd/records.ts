/**
 * What is said of the services of a host by DNS-SD (RFC 6763), as records of multicast DNS.
 *
 *   _services._dns-sd._udp.local   PTR  _marcoboot._tcp.local            which kinds there are
 *   _marcoboot._tcp.local          PTR  server._marcoboot._tcp.local     who offers one
 *   server._marcoboot._tcp.local   SRV  server-1f3a.local:8443           where
 *   server._marcoboot._tcp.local   TXT  key=… url=… boot=…               with which parameters
 *   server-1f3a.local              A    10.77.0.1
 */

import type { Params } from "#protocol/discovery.ts";
import type { Service } from "../services.ts";
import type { DnsRecord, Name } from "./message.ts";

/** Names of hosts 120 s, others 75 minutes (RFC 6762 §10). */
const hostTtl = 120;
const otherTtl = 4500;

/** RFC 6335 §5.1: 1-15 letters, digits and hyphens, with a letter. */
const namePattern = /^(?=.*[a-z])[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$/i;

export interface Host {
  /** What people read. */
  readonly name: string;
  /** Of letters, digits and hyphens; nobody else's on the link. */
  readonly label: string;
  readonly addresses: readonly string[];
}

/**
 * Services that can be announced: those with a port, a name that DNS-SD takes, and no mesh of
 * their own, which a browser could not be kept out of.
 */
export function isAnnounced({ id, params, groups }: Service): boolean {
  const port = params["port"];
  const isPort = typeof port === "number" && Number.isInteger(port) && port > 0 && port < 65_536;
  return isPort && namePattern.test(id) && groups.length === 0;
}

export function recordsOf(services: readonly Service[], host: Host): readonly DnsRecord[] {
  const own: Name = [host.label, "local"];
  const addresses = host.addresses.map((address): DnsRecord => {
    const type = address.includes(":") ? "AAAA" : "A";
    return { name: own, type, address, ttl: hostTtl, isUnique: true };
  });
  const announced = services.filter(isAnnounced);
  if (announced.length === 0) return [];
  return [
    ...announced.flatMap((service) => recordsOfService(service, host.name, own)),
    ...addresses,
  ];
}

const kinds: Name = ["_services", "_dns-sd", "_udp", "local"];

function recordsOfService(
  { id, params }: Service,
  hostName: string,
  target: Name,
): readonly DnsRecord[] {
  const kind: Name = [`_${id.toLowerCase()}`, "_tcp", "local"];
  const instance: Name = [hostName, ...kind];
  const shared = { ttl: otherTtl, isUnique: false } as const;
  return [
    { ...shared, name: kinds, type: "PTR", target: kind },
    { ...shared, name: kind, type: "PTR", target: instance },
    {
      name: instance,
      type: "SRV",
      port: Number(params["port"]),
      target,
      ttl: hostTtl,
      isUnique: true,
    },
    { name: instance, type: "TXT", texts: textsOf(params), ttl: otherTtl, isUnique: true },
  ];
}

/** `name=value`, each of at most 255 octets; a longer one is left out: half a value is a wrong one. */
function textsOf(params: Params): readonly string[] {
  return Object.entries(params)
    .filter(([name]) => name !== "port")
    .map(([name, value]) => `${name}=${value}`)
    .filter((text) => new TextEncoder().encode(text).length <= 255);
}
