/** The agent's question and the server's answer over real sockets on the loopback interface. */

import { createSocket, type Socket } from "node:dgram";
import { EventEmitter, once } from "node:events";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import type { Ipv4Address } from "#protocol/brand.ts";
import type { DiscoveryQuestion } from "#protocol/discovery.ts";
import { type DiscoverContext, discover } from "../../netinst/discover.ts";
import { pinKey } from "../../netinst/trust.ts";
import { systemClock } from "../../server/clock.ts";
import type { Config } from "../../server/config.ts";
import { startDiscovery } from "../../server/discovery/server.ts";
import { ipv4Link } from "../../server/discovery/shared/sockets.ts";
import { openSite, type Site } from "../../server/enrol/authority.ts";
import { silentLog } from "../../server/log.ts";
import type { DatagramSocket } from "../../server/net/udp.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { answerBy, makeSite } from "./support.ts";

const loopback = "127.0.0.1" as Ipv4Address;

async function bound(t: ExecutionContext): Promise<{ socket: Socket; port: number }> {
  const socket = createSocket("udp4");
  socket.bind(0, loopback);
  await once(socket, "listening");
  t.teardown(() => socket.close());
  return { socket, port: socket.address().port };
}

function asDatagramSocket(socket: Socket): DatagramSocket {
  return {
    send: (bytes, port, address) => socket.send(bytes, port, address),
    onMessage: (listener) =>
      void socket.on("message", (bytes, from) =>
        listener(bytes, { address: from.address as Ipv4Address, port: from.port }),
      ),
    close: async () => undefined,
    boundToDevice: false,
    port: socket.address().port,
  };
}

/** No group is heard on the loopback interface: the agent asks by unicast as well. */
const deaf = new EventEmitter() as Socket;
deaf.address = () => ({ address: loopback, family: "IPv4", port: 1337 });

async function serve(site: Site, socket: Socket): Promise<void> {
  const subnet = {
    interface: "lo",
    network: "127.0.0.0" as Ipv4Address,
    netmask: "255.0.0.0" as Ipv4Address,
  };
  await startDiscovery({
    config: {
      discovery: { group: "239.77.65.82", groups: [], port: 1337, dnsSd: false },
      subnets: [subnet],
    } as unknown as Config,
    interfaceName: "lo",
    address: loopback,
    site,
    bootUrl: "http://127.0.0.1:8080",
    agentUrl: "https://127.0.0.1:8443",
    hostname: "the right one",
    services: () => [],
    ipv6Links: () => [],
    log: silentLog,
    clock: systemClock,
    openSocket: async ({ multicast }) => asDatagramSocket(multicast ? deaf : socket),
  });
}

async function setUp(t: ExecutionContext) {
  const site = await openSite(join(temporaryDirectory(t), "keys"));
  const { socket, port } = await bound(t);
  const lines: string[] = [];
  const say = (line: string) => void lines.push(line);
  const context: DiscoverContext = {
    key: pinKey(site.serverKey),
    group: "239.77.65.82",
    port,
    links: [ipv4Link("lo", loopback, "255.0.0.0")],
    alsoAsk: loopback,
    firstDelayMs: 20,
    console: { info: say, warn: say, error: say, take: () => [] } as DiscoverContext["console"],
  };
  return { site, socket, lines, ask: () => discover(context, AbortSignal.timeout(100_000)) };
}

test("the agent finds the server whose key it holds", async (t) => {
  const { site, socket, ask } = await setUp(t);
  await serve(site, socket);
  t.is((await ask()).hostname, "the right one");
});

test("a lost question is asked again", async (t) => {
  const { site, socket, ask } = await setUp(t);
  const found = ask();
  await once(socket, "message"); // nobody answers the first
  await serve(site, socket);
  t.is((await found).hostname, "the right one");
});

test("I78: rogue, garbled and doubled answers before the right one", async (t) => {
  const { site, socket, lines, ask } = await setUp(t);
  const rogue = await makeSite(t, "rogue");
  socket.on("message", (bytes, from) => {
    const question = JSON.parse(bytes.toString()) as DiscoveryQuestion;
    const params = {
      url: "https://127.0.0.1:1",
      bootUrl: "http://127.0.0.1:1",
      hostname: "the wrong one",
      authority: rogue.site.authorityPem,
    };
    const answer = (change = {}) => answerBy(rogue.signer, question, loopback, params, change);
    const garbage = ["", "{", "null", '{"Command":"OK"}', "\u0000\u00ff", "x".repeat(5000)];
    const claimsOurKey = answer({ Key: site.keyId });
    for (const one of [...garbage.map((text) => Buffer.from(text)), answer(), claimsOurKey]) {
      for (let twice = 0; twice < 2; twice++) socket.send(one, from.port, from.address);
    }
  });
  await serve(site, socket); // its listener comes after the rogue's: the rogue answers first
  t.is((await ask()).hostname, "the right one");
  t.true(
    lines.some((line) => line.includes(rogue.site.keyId)),
    lines.join("\n"),
  );
});
