/** The ports the server needs, and who has them. */

import type { Finding } from "#protocol/timeline.ts";
import type { Config } from "../../config.ts";
import { addressOf, type Check, fine, interfacesOf, problem } from "../check.ts";
import {
  type BoundSocket,
  boundSockets,
  type Holder,
  holdersOf,
  type Machine,
} from "../machine.ts";

interface Wanted {
  readonly protocol: "udp" | "tcp";
  readonly port: number;
  readonly use: string;
  /** Others may share it. */
  readonly isShared?: boolean;
}

const proxyPort = 4011;

export function portsOf(config: Config): readonly Wanted[] {
  const isProxy = config.subnets.some(({ mode }) => mode === "proxy" || mode === "auto");
  const all: readonly Wanted[] = [
    { protocol: "udp", port: config.dhcpPort, use: "DHCP" },
    ...(isProxy ? [{ protocol: "udp", port: proxyPort, use: "ProxyDHCP" } as const] : []),
    { protocol: "udp", port: config.tftpPort, use: "TFTP" },
    { protocol: "udp", port: config.netconsolePort, use: "netconsole" },
    { protocol: "udp", port: config.discovery.port, use: "discovery", isShared: true },
    { protocol: "tcp", port: config.bootPort, use: "boot files by HTTP" },
    { protocol: "tcp", port: config.agentPort, use: "agents" },
    { protocol: "udp", port: config.agentPort, use: "heartbeats of agents" },
    { protocol: "tcp", port: config.adminPort, use: "the page and the API" },
  ];
  return all.filter(({ port }) => port !== 0);
}

/** What an address of another interface has is in nobody's way. */
const anyAddress = ["0.0.0.0", "::", "255.255.255.255"];

export const portsCheck: Check = {
  name: "ports",
  async examine(context) {
    const { config, machine } = context;
    const wanted = portsOf(config);
    const nodes = interfacesOf(context).map((name) => addressOf(context, name) ?? "");
    const sockets = boundSockets(machine);
    const conflicting = wanted.map((one) => {
      const own = one.port === config.adminPort ? [config.adminAddress] : nodes;
      return sockets.filter(
        ({ protocol, port, address }) =>
          protocol === one.protocol &&
          port === one.port &&
          [...anyAddress, ...own].includes(address),
      );
    });
    const holders = holdersOf(machine, new Set(conflicting.flat().map(({ inode }) => inode)));
    const findings = wanted.flatMap((one, at) =>
      one.isShared ? [] : examineOne(one, conflicting[at] ?? [], holders, machine),
    );
    if (findings.length > 0) return findings;
    const isServed = [...holders.values()].some(({ isMarcoboot }) => isMarcoboot);
    const numbers = wanted.map(({ protocol, port }) => `${port}/${protocol}`).join(", ");
    return [fine("ports", `ports ${numbers} are ${isServed ? "held by marcoboot" : "free"}`)];
  },
};

/** One finding at most: the first that holds it is to be stopped first. */
function examineOne(
  { protocol, port, use }: Wanted,
  sockets: readonly BoundSocket[],
  holders: ReadonlyMap<string, Holder>,
  machine: Machine,
): readonly Finding[] {
  const foreign = sockets.find(({ inode }) => !holders.get(inode)?.isMarcoboot);
  if (!foreign) return [];
  const holder = holders.get(foreign.inode);
  const who = holder ? `${holder.name} (process ${holder.pid})` : "a program of another user";
  const stop = holder ? stopRemedy(holder, machine) : "run the doctor as root to see which one";
  return [
    problem(
      "port-taken",
      `${protocol.toUpperCase()} port ${port} (${use}) is taken by ${who}`,
      stop,
    ),
  ];
}

/** A unit of systemd is told by its name: killing it only makes it start again. */
function stopRemedy({ pid, name }: Holder, machine: Machine): string {
  const unit = /\/(?<unit>[^/]+\.(?:service|socket))$/m.exec(
    machine.read(`proc/${pid}/cgroup`) ?? "",
  )?.groups?.["unit"];
  return unit === undefined
    ? `stop ${name}, or choose another port in the configuration`
    : `systemctl disable --now ${unit}, or choose another port in the configuration`;
}
