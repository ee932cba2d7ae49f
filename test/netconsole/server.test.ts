import test from "ava";
import type { DomainEvent } from "#protocol/events.ts";
import { parseConfig } from "../../server/config.ts";
import { ConfigurationError } from "../../server/errors.ts";
import { silentLog } from "../../server/log.ts";
import type { DatagramSocket, Sender } from "../../server/net/udp.ts";
import { startNetconsole } from "../../server/netconsole/server.ts";
import { manualClock } from "../support/manual-clock.ts";
import { ip, mac } from "../support/network.ts";

const config = parseConfig(
  "subnets: [{ cidr: 10.77.0.0/24, interface: rack0, reserved: [10.77.0.10, 10.77.0.99] }]",
  "/test.yaml",
);

async function setUp(openSocket?: () => Promise<DatagramSocket>) {
  const clock = manualClock();
  const published: DomainEvent[] = [];
  let listener: (bytes: Uint8Array, from: Sender) => void = () => undefined;
  const sent: unknown[] = [];
  const socket: DatagramSocket = {
    send: (...what) => void sent.push(what),
    onMessage: (one) => {
      listener = one;
    },
    close: async () => undefined,
    boundToDevice: true,
    port: 6666,
  };
  const netconsole = await startNetconsole({
    config,
    interfaceName: "rack0",
    leases: {
      macOf: (address) => (address === "10.77.0.11" ? mac("dc:a6:32:00:00:01") : undefined),
    },
    events: { publish: (event) => void published.push(event) },
    clock,
    log: silentLog,
    openSocket: openSocket ?? (async () => socket),
  });
  const hear = (text: string, from = "10.77.0.11") =>
    listener(Buffer.from(text), { address: ip(from), port: 6665 });
  return { clock, published, sent, netconsole, hear };
}

test("lines of half a second become one event of their node", async (t) => {
  const { clock, published, sent, hear } = await setUp();
  hear("Boot mode: NETWORK (02)\n");
  hear("RX: DHCP\n");
  hear("hello\n", "10.77.0.12");
  await clock.advance(500);
  t.deepEqual(published, [
    {
      topic: "netconsole",
      address: ip("10.77.0.11"),
      mac: mac("dc:a6:32:00:00:01"),
      lines: ["Boot mode: NETWORK (02)", "RX: DHCP"],
    },
    { topic: "netconsole", address: ip("10.77.0.12"), lines: ["hello"] },
  ]);
  t.deepEqual(sent, []);
});

test("other networks are not heard", async (t) => {
  const { clock, published, netconsole, hear } = await setUp();
  hear("hello\n", "10.78.0.11");
  await clock.advance(500);
  t.deepEqual(published, []);
  t.like(netconsole.counts(), { heard: 0, "foreign-source": 1 });
});

test("a node that floods is told up to 80 lines a second, and others are still heard", async (t) => {
  const { clock, published, netconsole, hear } = await setUp();
  for (let line = 0; line < 10_000; line++) hear(`line ${line}\n`);
  hear("me too\n", "10.77.0.12");
  await clock.advance(5000);
  const linesFrom = (address: string) =>
    published.flatMap((event) =>
      event.topic === "netconsole" && event.address === address ? event.lines : [],
    );
  t.is(linesFrom("10.77.0.11").length, 80);
  t.deepEqual(linesFrom("10.77.0.12"), ["me too"]);
  t.like(netconsole.counts(), { heard: 4001, "too-often": 6000 });
});

test("what is heard before the server closes is told", async (t) => {
  const { published, netconsole, hear } = await setUp();
  hear("last words\n");
  await netconsole.close();
  t.is(published.length, 1);
});

test("a port that is taken does not keep the server from starting", async (t) => {
  const { netconsole } = await setUp(async () => {
    throw new ConfigurationError("UDP port 6666 is taken by another program");
  });
  t.like(netconsole.counts(), { heard: 0 });
  await netconsole.close();
});
