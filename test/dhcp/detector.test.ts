import test, { type ExecutionContext } from "ava";
import type { DomainEvent } from "#protocol/events.ts";
import type { Subnet } from "../../server/config.ts";
import { messageTypes, option, readOption } from "../../server/dhcp/codec/options.ts";
import { type DhcpPacket, decodePacket, encodePacket } from "../../server/dhcp/codec/packet.ts";
import { openDetector } from "../../server/dhcp/detector.ts";
import { deferenceTime, listeningTime } from "../../server/dhcp/mode.ts";
import { ConfigurationError } from "../../server/errors.ts";
import { silentLog } from "../../server/log.ts";
import { message } from "../support/dhcp.ts";
import { fakeNetwork } from "../support/fake-socket.ts";
import { manualClock, settle } from "../support/manual-clock.ts";
import { ip, mac, subnet } from "../support/network.ts";

const own = ip("10.77.0.1");
const other = "10.77.0.2";
const given = ip("10.77.0.150");
const otherMac = mac("52:54:00:00:00:99");

async function world(t: ExecutionContext, change: Partial<Subnet> = {}, refuse?: Error) {
  const net = fakeNetwork(refuse);
  const clock = manualClock();
  const published: DomainEvent[] = [];
  const where: Subnet = { ...subnet, ...change };
  const detector = await openDetector({
    interfaceName: "lan0",
    address: own,
    dhcpPort: 67,
    subnets: [where],
    clock,
    events: { publish: (event) => void published.push(event) },
    neighbourOf: (address) => (address === other ? otherMac : undefined),
    log: silentLog,
    openSocket: net.open,
  });
  t.teardown(() => detector.close());
  const [socket] = net.sockets;
  const hear = (packet: DhcpPacket, from = other) =>
    socket?.receive(encodePacket(packet), from, 67);
  const rogues = () => published.filter(({ topic }) => topic === "rogue-server");
  return { net, clock, published, detector, where, socket, hear, rogues };
}

function offer(change: Partial<DhcpPacket> = {}, identifier = other): DhcpPacket {
  return {
    ...message("offer"),
    operation: "reply",
    yiaddr: given,
    options: new Map([
      option("messageType", messageTypes.offer),
      option("serverIdentifier", ip(identifier)),
    ]),
    ...change,
  };
}

const proxyOffer = offer({
  yiaddr: ip("0.0.0.0"),
  options: new Map([
    option("messageType", messageTypes.offer),
    option("serverIdentifier", ip(other)),
    option("vendorClass", "PXEClient"),
  ]),
});

test("it asks thrice at once, then every half minute, to all, as a PXE client", async (t) => {
  const { clock, socket, detector } = await world(t);
  await clock.advance(4_000);
  t.is(socket?.sent.length, 3);
  await clock.advance(60_000);
  t.is(socket?.sent.length, 5);
  const [first] = socket?.sent ?? [];
  t.like(first, { port: 67, address: "255.255.255.255" });
  const asked = decodePacket(first?.bytes ?? new Uint8Array());
  t.is(asked.flags, 0x8000, "the answer must be heard by us, who have another address");
  t.regex(readOption(asked.options, "vendorClass") ?? "", /^PXEClient:/);
  const sender = mac(
    asked.chaddr
      .subarray(0, 6)
      .toHex()
      .replace(/..(?!$)/g, "$&:"),
  );
  t.true(detector.isProbe(sender));
  t.is((asked.chaddr[0] ?? 0) & 3, 2, "locally administered, for one");
  t.false(detector.isProbe(otherMac));
});

test("another server is told of with all its names, once", async (t) => {
  const { clock, hear, published, rogues } = await world(t);
  hear(offer());
  hear(offer());
  await clock.advance(1_000);
  t.deepEqual<object, object>(rogues(), [
    {
      topic: "rogue-server",
      kind: "dhcp",
      interface: "lan0",
      address: other,
      serverIdentifier: other,
      offered: given,
      mac: otherMac,
    },
  ]);
  t.deepEqual<object | undefined, object>(published.at(-1), {
    topic: "alarm",
    text: `another DHCP server answers on lan0: ${other} (${otherMac}, server identifier ${other}, offered ${given})`,
  });
});

test("it is told of again when it comes back after ten minutes, not before", async (t) => {
  const { clock, hear, rogues } = await world(t);
  hear(offer());
  await clock.advance(599_000);
  hear(offer());
  await clock.advance(1_000);
  t.is(rogues().length, 1);
  await clock.advance(600_000);
  hear(offer());
  await clock.advance(1_000);
  t.is(rogues().length, 2);
});

test("one that gives boot files is another kind", async (t) => {
  const { clock, hear, rogues } = await world(t);
  hear(proxyOffer);
  await clock.advance(1_000);
  t.like(rogues()[0], { kind: "proxy-dhcp", address: other });
});

test("a server that a client chose is told of, though never heard", async (t) => {
  const { clock, detector, rogues } = await world(t);
  detector.chosen(ip(other));
  detector.chosen(own);
  await clock.advance(1_000);
  t.is(rogues().length, 1);
  t.like(rogues()[0], { address: other, serverIdentifier: other });
});

const ignored: readonly (readonly [title: string, packet: DhcpPacket, from: string])[] = [
  ["our own offer, which comes back to us", offer(), "10.77.0.1"],
  ["a client's message", message("discover"), other],
  ["a reply without a type", offer({ options: new Map() }), other],
];
for (const [title, packet, from] of ignored) {
  test(`${title} tells of nobody`, async (t) => {
    const { clock, detector, hear, rogues } = await world(t);
    hear(packet, from);
    await clock.advance(1_000);
    t.deepEqual(rogues(), []);
    t.false(detector.areHeard());
  });
}

test("garbage on the client port does nothing", async (t) => {
  const { clock, socket, rogues } = await world(t);
  socket?.receive(Uint8Array.of(2, 1, 6), other, 67);
  await clock.advance(1_000);
  t.deepEqual(rogues(), []);
});

test("a flood of invented servers raises a handful of alarms", async (t) => {
  const { clock, hear, rogues } = await world(t);
  for (let index = 0; index < 1000; index++) {
    hear(offer({}, `10.9.${index >> 8}.${index & 255}`));
  }
  await clock.advance(1_000);
  t.is(rogues().length, 8);
});

test("mode auto listens, serves, gives way at once, and serves again after silence", async (t) => {
  const { clock, detector, hear, where } = await world(t, { mode: "auto" });
  t.is(detector.of(where), "listening");
  await clock.advance(listeningTime);
  t.is(detector.of(where), "dynamic");
  hear(offer());
  t.is(detector.of(where), "proxy");
  t.true(detector.areHeard());
  await clock.advance(deferenceTime);
  t.is(detector.of(where), "dynamic");
  t.false(detector.areHeard());
});

test("mode auto does not give way to one that gives no addresses", async (t) => {
  const { clock, detector, hear, where } = await world(t, { mode: "auto" });
  await clock.advance(listeningTime);
  hear(proxyOffer);
  t.is(detector.of(where), "dynamic");
});

test("in mode proxy the other DHCP server is expected, another proxy is not", async (t) => {
  const { clock, hear, rogues } = await world(t, { mode: "proxy" });
  hear(offer());
  await clock.advance(1_000);
  t.deepEqual(rogues(), []);
  hear(proxyOffer);
  await clock.advance(1_000);
  t.like(rogues()[0], { kind: "proxy-dhcp" });
});

test("where the client port is another program's, clients alone tell of other servers", async (t) => {
  const taken = new ConfigurationError("UDP port 68 is taken");
  const { clock, detector, rogues } = await world(t, {}, taken);
  detector.chosen(ip(other));
  await clock.advance(1_000);
  t.is(rogues().length, 1);
  t.false(detector.isProbe(otherMac));
});

test("mode auto gives no addresses where it cannot hear others, the other modes do", async (t) => {
  const taken = new ConfigurationError("UDP port 68 is taken");
  const { clock, detector, where } = await world(t, { mode: "auto" }, taken);
  await clock.advance(listeningTime);
  t.is(detector.of(where), "proxy");
  t.is(detector.of({ ...where, mode: "dynamic" }), "dynamic");
});

test("after the end it asks nobody and its socket is closed", async (t) => {
  const { clock, detector, socket } = await world(t);
  await detector.close();
  await settle();
  const before = socket?.sent.length;
  await clock.advance(120_000);
  t.is(socket?.sent.length, before);
  t.true(socket?.closed());
});
