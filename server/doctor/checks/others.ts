/**
 * Who else answers DHCP, ProxyDHCP and TFTP on the served interfaces.
 *
 * A running server watches the wire itself and knows; otherwise we ask: three
 * DISCOVERs of an invented PXE client, and a read request by broadcast, which
 * this product's own TFTP server never answers.
 */

import { type Ipv4Address, milliseconds } from "#protocol/brand.ts";
import type { Finding } from "#protocol/timeline.ts";
import type { Subnet } from "../../config.ts";
import { type HeardServer, openProbe } from "../../dhcp/probe.ts";
import { openDatagramSocket } from "../../net/udp.ts";
import { encodePacket } from "../../tftp/codec.ts";
import {
  addressOf,
  type Check,
  type CheckContext,
  fine,
  hint,
  interfacesOf,
  problem,
} from "../check.ts";

const questions = 3;
/** Some servers look for 3 s whether an address is free before they offer it. */
const pause = milliseconds(2000);
const unlikelyName = "marcoboot-doctor";

type Other = Pick<HeardServer, "kind" | "address">;

export const othersCheck: Check = {
  name: "other servers",
  async examine(context) {
    const { server } = context;
    if (server.kind === "other") {
      return [
        hint(
          "others-not-asked",
          `a marcoboot (process ${server.pid}) runs here and watches for other servers itself`,
          "sign in (`marcoboot login`), and the doctor asks it; it raises an alarm for each",
        ),
      ];
    }
    const findings = await Promise.all(interfacesOf(context).map((name) => onOne(name, context)));
    return findings.flat();
  },
};

async function onOne(name: string, context: CheckContext): Promise<readonly Finding[]> {
  const { config, server, machine } = context;
  const subnets = config.subnets.filter((subnet) => subnet.interface === name);
  if (server.kind === "this") {
    const heard = server.heard.filter((one) => one.interface === name);
    return tellOthers(name, subnets, heard);
  }
  const address = addressOf(context, name);
  if (address === undefined || machine.read(`sys/class/net/${name}/carrier`) !== "1") return [];
  const heard = await askDhcp(name, address, context);
  const asked = [...subnets.map(({ broadcast }) => broadcast), ...heard.map((one) => one.address)];
  const tftp = await askTftp(name, address, asked, context);
  return [...tellOthers(name, subnets, heard), ...tellTftp(name, tftp)];
}

async function askDhcp(
  interfaceName: string,
  address: Ipv4Address,
  { config, clock, log, signal }: CheckContext,
): Promise<readonly Other[]> {
  const heard = new Map<string, Other>();
  const probe = await openProbe(
    { interfaceName, address, dhcpPort: config.dhcpPort, log },
    (server) => void heard.set(`${server.kind} ${server.address}`, server),
  );
  try {
    for (let turn = 0; turn < questions && !signal.aborted; turn++) {
      probe.ask();
      await clock.sleep(pause, signal);
    }
    return [...heard.values()];
  } finally {
    await probe.close();
  }
}

function tellOthers(
  name: string,
  subnets: readonly Subnet[],
  heard: readonly Other[],
): readonly Finding[] {
  const [mode] = subnets.map((subnet) => subnet.mode);
  const dhcp = heard.filter(({ kind }) => kind === "dhcp").map(({ address }) => address);
  const proxies = heard.filter(({ kind }) => kind === "proxy-dhcp").map(({ address }) => address);
  return [...tellDhcp(name, mode, [...new Set(dhcp)]), ...tellProxies(name, [...new Set(proxies)])];
}

function tellDhcp(
  name: string,
  mode: Subnet["mode"] | undefined,
  addresses: readonly Ipv4Address[],
): readonly Finding[] {
  const who = addresses.join(", ");
  const isExpected = mode === "proxy" || mode === "auto" || mode === "off";
  if (addresses.length === 0) {
    return mode === "proxy"
      ? [
          problem(
            "no-dhcp-server",
            `no DHCP server answers on ${name}, and mode proxy gives no addresses`,
            "start the network's DHCP server, or set the subnet's mode to `reservation` or `dynamic`",
          ),
        ]
      : [fine("no-other-dhcp", `no other DHCP server answers on ${name}`)];
  }
  if (isExpected)
    return [fine("other-dhcp", `${who} gives addresses on ${name}, as mode ${mode} expects`)];
  return [
    problem(
      "other-dhcp",
      `another DHCP server answers on ${name}: ${who}`,
      "switch it off there, or set the subnet's mode to `proxy` (it gives the addresses) or `auto`",
    ),
  ];
}

function tellProxies(name: string, addresses: readonly Ipv4Address[]): readonly Finding[] {
  if (addresses.length === 0) return [];
  return [
    problem(
      "other-proxy",
      `another boot server (ProxyDHCP) answers on ${name}: ${addresses.join(", ")}`,
      "switch it off: nodes take the first answer that comes",
    ),
  ];
}

/** A read request to everybody and to whoever answered DHCP; whoever answers serves TFTP. */
async function askTftp(
  interfaceName: string,
  address: Ipv4Address,
  asked: readonly Ipv4Address[],
  { config, clock, log, signal }: CheckContext,
): Promise<readonly Ipv4Address[]> {
  const heard = new Set<Ipv4Address>();
  const socket = await openDatagramSocket(
    { interface: interfaceName, port: 0, broadcast: true },
    log,
  );
  try {
    socket.onMessage((bytes, from) => {
      if (from.address !== address && isTftp(bytes)) heard.add(from.address);
    });
    const request = encodePacket({
      kind: "read",
      name: unlikelyName,
      mode: "octet",
      options: [],
    });
    for (const one of new Set(asked)) socket.send(request, config.tftpPort, one);
    await clock.sleep(pause, signal);
    return [...heard];
  } finally {
    await socket.close();
  }
}

function isTftp(bytes: Uint8Array): boolean {
  const opcode = (bytes[0] ?? 0) * 256 + (bytes[1] ?? 0);
  return bytes.length >= 4 && opcode >= 3 && opcode <= 6;
}

function tellTftp(name: string, addresses: readonly Ipv4Address[]): readonly Finding[] {
  if (addresses.length === 0) return [];
  return [
    hint(
      "other-tftp",
      `another TFTP server answers on ${name}: ${addresses.join(", ")}`,
      "harmless as long as no DHCP answer names it",
    ),
  ];
}
