import test from "ava";
import { type Ipv4Address, milliseconds, parseIpv4Address } from "#protocol/brand.ts";
import { familyOf } from "../../server/boot/firmware/registry.ts";
import { createBoot } from "../../server/boot/profile.ts";
import type { Subnet } from "../../server/config.ts";
import {
  type MessageType,
  option,
  readMessageType,
  readOption,
} from "../../server/dhcp/codec/options.ts";
import { type DhcpPacket, decodePacket, encodePacket } from "../../server/dhcp/codec/packet.ts";
import type { Decision, HandlerContext } from "../../server/dhcp/decision.ts";
import { handlePacket } from "../../server/dhcp/handler.ts";
import { createRecent } from "../../server/dhcp/recent.ts";
import { PacketError, PoolExhaustedError } from "../../server/errors.ts";
import type { Admission } from "../../server/lease/admission.ts";
import { silentLog } from "../../server/log.ts";
import {
  corpus,
  fixture,
  fixtures,
  macOf,
  message,
  pi3Discover,
  pi4Discover,
} from "../support/dhcp.ts";
import { mac, type Network, network, subnet, withoutPool } from "../support/network.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { hex } from "../support/vectors.ts";

const ip = parseIpv4Address;
const own = ip("10.77.0.1");
const other = ip("10.77.0.2");
const reserved = ip("10.77.0.10");
const node = mac("52:54:00:00:00:01");
const fixed = withoutPool(subnet);

/** The real answer of each firmware's family; only the files behind it are missing. */
const boot: HandlerContext["boot"] = {
  reply: (client, server) =>
    client.firmware && familyOf(client.firmware)?.reply(client, server, "ipxe"),
};

type World = Network & { readonly context: HandlerContext };

function world(change: Partial<HandlerContext> = {}): World {
  const net = network();
  const context: HandlerContext = {
    subnets: [fixed],
    server: { address: own, httpUrl: "http://10.77.0.1:8080" },
    leases: net.leases,
    admission: { heard: () => undefined },
    boot,
    events: net.events,
    recent: createRecent(),
    ...change,
  };
  return { ...net, context };
}

/** A world where the sender has the first reserved address. */
function known(packet: DhcpPacket, change: Partial<HandlerContext> = {}): World {
  const made = world(change);
  made.leases.reserve({ mac: macOf(packet), subnet: fixed, hostname: "node-1" });
  return made;
}

type Reply = Extract<Decision, { kind: "reply" }>;

/** The reply as the wire carries it: encoded and decoded. */
function answered(decision: Decision): Reply & { readonly packet: DhcpPacket } {
  if (decision.kind !== "reply") throw new RangeError(`silence: ${decision.reason}`);
  return { ...decision, packet: decodePacket(encodePacket(decision.packet)) };
}

function outcome(decision: Decision): string {
  return decision.kind === "reply"
    ? `${decision.type} ${decision.packet.yiaddr}`
    : `silence ${decision.reason}`;
}

for (const { client, type } of fixtures.filter((one) => one.type !== "RELEASE")) {
  test(`replay: ${client} ${type}, known, is answered with its reservation`, (t) => {
    const packet = fixture(client, "DISCOVER");
    const { context } = known(packet);
    const offer = answered(handlePacket(packet, context));
    const asked =
      type === "DISCOVER" ? packet : withServer(fixture(client, "REQUEST"), reserved, own);
    const reply = answered(handlePacket(asked, context));
    t.is(reply.type, type === "DISCOVER" ? "offer" : "ack");
    t.is(String(reply.packet.yiaddr), "10.77.0.10");
    t.is(reply.packet.xid, asked.xid);
    t.deepEqual(reply.packet.chaddr, asked.chaddr);
    t.is(String(readOption(reply.packet.options, "serverIdentifier")), "10.77.0.1");
    t.deepEqual(reply.packet.options.get(97), asked.options.get(97) && bootId(reply, asked));
    t.is(
      reply.packet.file,
      offer.packet.file,
      "the ACK has the boot file of the OFFER: some firmware reads the one, some the other",
    );
  });
}

// As captured: the server has the address the REQUEST names, the node the one it asks for.
const all: Subnet = {
  ...fixed,
  cidr: "10.0.0.0/8",
  network: ip("10.0.0.0"),
  broadcast: ip("10.255.255.255"),
};
for (const [name, bytes] of corpus()) {
  const packet = decodePacket(bytes);
  const type = readMessageType(packet.options);
  if (type !== "discover" && type !== "request") continue;
  const address = readOption(packet.options, "requestedAddress") ?? reserved;
  const server = readOption(packet.options, "serverIdentifier") ?? own;
  const expected = `${type === "discover" ? "offer" : "ack"} ${address}`;
  test(`replay: ${name}: ${expected}`, (t) => {
    const { context, leases } = world({
      subnets: [all],
      server: { address: server, httpUrl: `http://${server}:8080` },
    });
    leases.reserve({ mac: macOf(packet), subnet: all, address });
    t.is(outcome(handlePacket(packet, context)), expected);
  });
}

/** Option 97 is echoed to boot clients only. */
function bootId(reply: Reply, asked: DhcpPacket): Uint8Array | undefined {
  return reply.packet.siaddr === "0.0.0.0" ? undefined : asked.options.get(97);
}

function withServer(packet: DhcpPacket, address: Ipv4Address, server: Ipv4Address): DhcpPacket {
  return {
    ...packet,
    ciaddr: ip("0.0.0.0"),
    options: new Map([
      ...packet.options,
      option("requestedAddress", address),
      option("serverIdentifier", server),
    ]),
  };
}

test("the ordinary options are in the OFFER", (t) => {
  const packet = message("discover");
  const { context } = known(packet);
  const { packet: offer, destination } = answered(handlePacket(packet, context));
  const read = {
    mask: readOption(offer.options, "subnetMask"),
    broadcast: readOption(offer.options, "broadcastAddress"),
    router: readOption(offer.options, "router"),
    dns: readOption(offer.options, "domainNameServer"),
    name: readOption(offer.options, "hostName"),
    lease: readOption(offer.options, "leaseTime"),
    t1: readOption(offer.options, "renewalTime"),
    t2: readOption(offer.options, "rebindingTime"),
  };
  t.deepEqual<object, object>(read, {
    mask: "255.255.255.0",
    broadcast: "10.77.0.255",
    router: ["10.77.0.254"],
    dns: ["10.77.0.1"],
    name: "node-1",
    lease: 3600,
    t1: 1800,
    t2: 3150,
  });
  t.deepEqual<object, object>(destination, {
    kind: "neighbour",
    address: "10.77.0.10",
    mac: node,
    fallback: "broadcast",
  });
});

test("an ordinary OS client gets no boot options", (t) => {
  const packet = fixture("systemd-networkd-252", "DISCOVER");
  const { packet: offer } = answered(handlePacket(packet, known(packet).context));
  t.is(offer.file + String(offer.siaddr), "0.0.0.0");
  for (const code of [43, 60, 66, 67, 97, 175]) t.false(offer.options.has(code), `option ${code}`);
});

test("UEFI PXE gets its boot file in the header and in 67, server in siaddr and 66", (t) => {
  const packet = fixture("ovmf-x64-pxe", "DISCOVER");
  const reply = answered(handlePacket(packet, known(packet).context));
  const { options } = reply.packet;
  t.is(reply.packet.file, "ipxe-x64.efi");
  t.is(readOption(options, "bootFileName"), "ipxe-x64.efi");
  t.is(readOption(options, "tftpServerName"), "10.77.0.1");
  t.is(String(reply.packet.siaddr), "10.77.0.1");
  t.is(reply.destination.kind, "broadcast");
});

test("UEFI HTTP boot gets 60 HTTPClient and the URL in 67", (t) => {
  const packet = fixture("aavmf-arm64-http", "DISCOVER");
  const { options } = answered(handlePacket(packet, known(packet).context)).packet;
  t.is(readOption(options, "vendorClass"), "HTTPClient");
  t.regex(readOption(options, "bootFileName") ?? "", /^http:\/\/10\.77\.0\.1:8080\//);
  t.false(options.has(66));
});

test("the real boot room answers a captured UEFI PXE client, and not a running OS", (t) => {
  const made = known(fixture("ovmf-x64-pxe", "DISCOVER"));
  const directory = temporaryDirectory(t);
  const { boot: _, ...rest } = made.context;
  const real = createBoot({
    config: {
      netinstDirectory: directory,
      loadersDirectory: directory,
      discovery: { group: "239.77.65.82", groups: [], port: 1337, services: "", dnsSd: false },
      kernelArguments: [],
      replyDelaySeconds: {},
      subnets: [fixed],
    },
    store: made.store,
    leases: made.leases,
    windows: { tokenFor: () => undefined },
    site: { serverKey: "" },
    images: { bootFilesOf: () => directory },
    servers: [rest.server],
    events: made.events,
    log: silentLog,
  });
  const context = { ...rest, boot: real };
  const pxe = answered(handlePacket(fixture("ovmf-x64-pxe", "DISCOVER"), context));
  t.is(pxe.packet.file, "ipxe-x64.efi");
  made.leases.reserve({ mac: node, subnet: fixed });
  const os = answered(handlePacket(message("discover"), context));
  t.is(os.packet.file, "");
});

test("iPXE gets its script and no-pxedhcp", (t) => {
  const packet = fixture("ipxe-2025-efi-x64", "DISCOVER");
  const { options } = answered(handlePacket(packet, known(packet).context)).packet;
  t.is(readOption(options, "ipxe")?.toHex(), "b00101");
});

test("a Raspberry Pi 3 has its address bound by the OFFER, by unicast, with option 43 and 97", (t) => {
  const packet = pi3Discover();
  const { context, leases } = known(packet);
  const reply = answered(handlePacket(packet, context));
  t.is(leases.list()[0]?.state, "bound");
  t.like(reply.destination, { kind: "neighbour", fallback: "silence" });
  // boot-net.adoc, the name padded with three blanks
  const expected = hex(
    `060103 0a0400505845 0917000014 52617370626572727920506920426f6f74 202020 ff`,
  );
  t.deepEqual(reply.packet.options.get(43), expected);
  t.deepEqual(reply.packet.options.get(97), packet.options.get(97));
  t.is(readOption(reply.packet.options, "tftpServerName"), "10.77.0.1");
});

test("48 Raspberry Pi 3 with one transaction id get 48 addresses, each its own", (t) => {
  const wide: Subnet = { ...fixed, reserved: { first: ip("10.77.0.10"), last: ip("10.77.0.99") } };
  const { context, leases } = world({ subnets: [wide] });
  const boards = Array.from(
    { length: 48 },
    (_, index) => `b8:27:eb:00:00:${(index + 16).toString(16)}`,
  );
  for (const board of boards) leases.reserve({ mac: mac(board), subnet: wide });
  const replies = boards.map((board) => answered(handlePacket(pi3Discover(board), context)));
  t.is(new Set(replies.map(({ packet }) => packet.yiaddr)).size, 48);
  for (const [index, reply] of replies.entries()) {
    t.like(reply.destination, { kind: "neighbour", mac: mac(boards[index] ?? "") });
  }
});

test("a Raspberry Pi 4 whose REQUEST leaves option 60 out still gets its boot options", (t) => {
  const discover = pi4Discover({ xid: 9 });
  const { context } = known(discover);
  handlePacket(discover, context);
  const request = withServer(
    message("request", { mac: "dc:a6:32:01:36:c2", xid: 9 }),
    reserved,
    own,
  );
  const ack = answered(handlePacket(request, context));
  t.is(ack.type, "ack");
  t.true(ack.packet.options.has(43));
  t.is(readOption(ack.packet.options, "vendorClass"), "PXEClient");
});

test("every DISCOVER is published with what it says", (t) => {
  const { context, published } = world();
  handlePacket(pi4Discover(), context);
  t.deepEqual<object, object>(published, [
    { topic: "heard", mac: "dc:a6:32:01:36:c2", firmware: "raspberry-pi-4", serial: "a1b2c3d4" },
  ]);
});

test("the node a learning rack expects is admitted before the OFFER", (t) => {
  const made = world();
  const admission: Admission = {
    heard: (client, where) => made.leases.reserve({ mac: client.mac, subnet: where }),
  };
  const decision = handlePacket(message("discover"), { ...made.context, admission });
  t.is(outcome(decision), "offer 10.77.0.10");
});

test("an unknown board waits while a rack is being learned, a known one does not", (t) => {
  const made = world({ subnets: [subnet], admission: { heard: () => "wait" } });
  const decision = handlePacket(message("discover"), made.context);
  t.is(outcome(decision), "silence being-learned");
  made.leases.reserve({ mac: node, subnet });
  t.is(outcome(handlePacket(message("discover"), made.context)), "offer 10.77.0.10");
});

test("the port that option 82 names is told to whoever learns the rack", (t) => {
  const told: unknown[] = [];
  const admission: Admission = { heard: ({ circuit }) => void told.push(circuit) };
  const info = hex("01 07 657468302f3132  02 06 dca632010203"); // RFC 3046 §3.1, §3.2
  const options = [option("relayAgentInformation", info)];
  handlePacket(message("discover", { options }), world({ admission }).context);
  t.deepEqual(told, [{ id: "657468302f3132", remote: "dca632010203" }]);
});

test("a full pool is an error the edge logs", (t) => {
  const { context } = world({ subnets: [subnet] });
  for (const last of ["0a", "0b"]) {
    handlePacket(message("discover", { mac: `52:54:00:00:00:${last}` }), context);
  }
  t.throws(() => handlePacket(message("discover"), context), { instanceOf: PoolExhaustedError });
});

test("a requested address of three octets is refused with PacketError", (t) => {
  const packet = message("request", { options: [[50, hex("0a4d00")]] });
  t.throws(() => handlePacket(packet, known(packet).context), { instanceOf: PacketError });
});

const from = (type: MessageType, made: Parameters<typeof message>[1] = {}) => message(type, made);
const asks = (address: Ipv4Address) => option("requestedAddress", address);
const names = (server: Ipv4Address) => option("serverIdentifier", server);
const wrong = ip("10.77.0.77");
const elsewhere = ip("192.168.1.5");

const ofKnown: readonly (readonly [title: string, packet: DhcpPacket, expected: string])[] = [
  ["DISCOVER", from("discover"), "offer 10.77.0.10"],
  ["selecting us", from("request", { options: [names(own), asks(reserved)] }), "ack 10.77.0.10"],
  [
    "selecting another server",
    from("request", { options: [names(other), asks(reserved)] }),
    "silence other-server",
  ],
  [
    "selecting us with a wrong address",
    from("request", { options: [names(own), asks(wrong)] }),
    "nak 0.0.0.0",
  ],
  ["rebooting with its address", from("request", { options: [asks(reserved)] }), "ack 10.77.0.10"],
  ["rebooting from elsewhere", from("request", { options: [asks(elsewhere)] }), "nak 0.0.0.0"],
  ["renewing", from("request", { ciaddr: reserved }), "ack 10.77.0.10"],
  ["renewing a wrong address", from("request", { ciaddr: wrong }), "nak 0.0.0.0"],
  ["a REQUEST for nothing", from("request"), "silence no-address"],
  ["INFORM", from("inform", { ciaddr: reserved }), "ack 0.0.0.0"],
  ["INFORM from elsewhere", from("inform", { ciaddr: elsewhere }), "silence no-address"],
  ["RELEASE", from("release", { ciaddr: reserved }), "silence noted"],
  ["DECLINE", from("decline", { options: [asks(reserved)] }), "silence noted"],
  ["another server's OFFER", from("offer"), "silence not-a-request"],
  ["a relay of our subnet", from("discover", { giaddr: ip("10.77.0.253") }), "offer 10.77.0.10"],
  [
    "a relay nobody named",
    from("discover", { giaddr: ip("10.77.0.252") }),
    "silence unknown-relay",
  ],
  [
    "RELEASE to another server",
    from("release", { ciaddr: reserved, options: [names(other)] }),
    "silence other-server",
  ],
  [
    "renewing, whatever option 50 says",
    from("request", { ciaddr: reserved, options: [asks(wrong)] }),
    "ack 10.77.0.10",
  ],
  [
    "a relay of a foreign subnet",
    from("discover", { giaddr: ip("10.99.0.1") }),
    "silence foreign-subnet",
  ],
  [
    "a firmware nobody has a loader for",
    from("discover", { options: [option("vendorClass", "PXEClient:Arch:00027:UNDI:003000")] }),
    "silence no-boot-file",
  ],
];
for (const [title, packet, expected] of ofKnown) {
  test(`of a known client: ${title}: ${expected}`, (t) => {
    t.is(outcome(handlePacket(packet, known(packet).context)), expected);
  });
}

const ofUnknown: readonly (readonly [
  title: string,
  packet: DhcpPacket,
  pool: string,
  none: string,
])[] = [
  ["DISCOVER", from("discover"), "offer 10.77.0.100", "silence unknown-client"],
  [
    "selecting us without an offer",
    from("request", { options: [names(own), asks(wrong)] }),
    "nak 0.0.0.0",
    "nak 0.0.0.0",
  ],
  [
    "rebooting",
    from("request", { options: [asks(wrong)] }),
    "silence unknown-client",
    "silence unknown-client",
  ],
  [
    "renewing",
    from("request", { ciaddr: wrong }),
    "silence unknown-client",
    "silence unknown-client",
  ],
  ["INFORM", from("inform", { ciaddr: wrong }), "ack 0.0.0.0", "silence unknown-client"],
  [
    "rebooting from another network",
    from("request", { options: [asks(elsewhere)] }),
    "nak 0.0.0.0",
    "silence unknown-client",
  ],
  [
    "rebinding from another network",
    from("request", { ciaddr: elsewhere }),
    "nak 0.0.0.0",
    "silence unknown-client",
  ],
  ["a Pi 3", pi3Discover(), "offer 10.77.0.100", "silence unknown-client"],
];
for (const [title, packet, pool, none] of ofUnknown) {
  test(`of an unknown client, with a pool: ${title}: ${pool}`, (t) => {
    t.is(outcome(handlePacket(packet, world({ subnets: [subnet] }).context)), pool);
  });
  test(`of an unknown client, without: ${title}: ${none}`, (t) => {
    t.is(outcome(handlePacket(packet, world().context)), none);
  });
}

test("a firmware without a boot file gets no OFFER, and no lease is written", (t) => {
  const packet = fixture("ovmf-x64-pxe", "DISCOVER");
  const { context, leases } = known(packet, { boot: { reply: () => undefined } });
  t.is(outcome(handlePacket(packet, context)), "silence no-boot-file");
  t.deepEqual(leases.list(), []);
});

test("the offer of a client that chose another server is withdrawn", (t) => {
  const { context, leases } = world({ subnets: [subnet] });
  handlePacket(from("discover"), context);
  handlePacket(from("request", { options: [names(other), asks(wrong)] }), context);
  t.is(leases.addressOf(node), undefined);
});

test("a DECLINE by the holder raises an alarm, another server's or a stranger's does not", (t) => {
  const { context, published } = world({ subnets: [subnet] });
  handlePacket(from("discover"), context);
  const declined = ip("10.77.0.100");
  const stranger = { mac: "52:54:00:00:00:02", options: [asks(declined)] };
  handlePacket(from("decline", { options: [asks(declined), names(other)] }), context);
  handlePacket(from("decline", stranger), context);
  t.false(published.some(({ topic }) => topic === "alarm"));
  handlePacket(from("decline", { options: [asks(declined), names(own)] }), context);
  t.deepEqual<object | undefined, object>(published.at(-1), {
    topic: "alarm",
    text: "52:54:00:00:00:01 found 10.77.0.100 in use by another device",
  });
});

test("what a hardware address was running is forgotten, the oldest first", (t) => {
  const recent = createRecent();
  const earlier = { xid: 1, client: { mac: node, ipxe: false, architectures: [] } };
  for (let index = 0; index < 4097; index++) {
    recent.set(mac(`02:00:00:00:${hexOctet(index >> 8)}:${hexOctet(index & 255)}`), earlier);
  }
  t.is(recent.get(mac("02:00:00:00:00:00")), undefined);
  t.is(recent.get(mac("02:00:00:00:10:00")), earlier);
});

test("a reserved node is not forgotten in a flood between its DISCOVER and its REQUEST", (t) => {
  const discover = pi4Discover({ xid: 9 });
  const { context } = known(discover);
  handlePacket(discover, context);
  for (let index = 0; index < 10_000; index++) {
    const invented = `02:00:00:00:${hexOctet(index >> 8)}:${hexOctet(index & 255)}`;
    handlePacket(pi4Discover({ mac: invented, xid: index }), context);
  }
  const request = message("request", { mac: "dc:a6:32:01:36:c2", xid: 9 });
  const ack = answered(handlePacket(withServer(request, reserved, own), context));
  t.is(readOption(ack.packet.options, "vendorClass"), "PXEClient");
});

function hexOctet(value: number): string {
  return value.toString(16).padStart(2, "0");
}

test("the relay's option comes back octet by octet, as the last", (t) => {
  const info = hex("01 04 65746830 02 02 abcd");
  const packet = message("discover", {
    giaddr: ip("10.77.0.253"),
    options: [option("relayAgentInformation", info), option("clientIdentifier", hex("ff01"))],
  });
  const reply = answered(handlePacket(packet, known(packet).context));
  t.deepEqual([...reply.packet.options.keys()].at(-1), 82);
  t.deepEqual(reply.packet.options.get(82), info);
  t.deepEqual<object, object>(reply.destination, { kind: "relay", address: "10.77.0.253" });
});

test("a relay's link selection chooses the subnet, not giaddr (RFC 3527)", (t) => {
  const packet = message("discover", {
    giaddr: ip("10.99.0.1"),
    options: [option("relayAgentInformation", hex("05 04 0a4d0000"))],
  });
  const named: Subnet = { ...fixed, relays: [ip("10.99.0.1")] };
  const { context } = known(packet, { subnets: [named] });
  t.is(outcome(handlePacket(packet, context)), "offer 10.77.0.10");
  t.is(outcome(handlePacket(packet, known(packet).context)), "silence unknown-relay");
});

test("a link selection of three octets is refused with PacketError", (t) => {
  const packet = message("discover", {
    giaddr: ip("10.77.0.253"),
    options: [option("relayAgentInformation", hex("05 03 0a4d00"))],
  });
  t.throws(() => handlePacket(packet, known(packet).context), { instanceOf: PacketError });
});

// RFC 5107 §4: renewals of clients behind the relay agent go to it, not past it.
test("a relay's server identifier is told to its clients, and understood from them", (t) => {
  const relayed = {
    giaddr: ip("10.77.0.253"),
    options: [option("relayAgentInformation", hex("0b 04 0a4d00fd"))],
  };
  const packet = message("discover", relayed);
  const { context } = known(packet);
  const offer = answered(handlePacket(packet, context));
  t.is(String(readOption(offer.packet.options, "serverIdentifier")), "10.77.0.253");
  const selecting = message("request", {
    ...relayed,
    options: [...relayed.options, names(ip("10.77.0.253")), asks(reserved)],
  });
  t.is(outcome(handlePacket(selecting, context)), "ack 10.77.0.10");
  const local = message("request", { options: [names(ip("10.77.0.253")), asks(reserved)] });
  t.is(outcome(handlePacket(local, context)), "silence other-server");
});

const behindRelay: Subnet = {
  ...fixed,
  cidr: "10.88.0.0/24",
  network: ip("10.88.0.0"),
  broadcast: ip("10.88.0.255"),
  reserved: { first: ip("10.88.0.10"), last: ip("10.88.0.20") },
  router: ip("10.88.0.253"),
};

test("a client renews past its relay agent, in its own subnet", (t) => {
  const { context, leases } = world({ subnets: [fixed, behindRelay] });
  leases.reserve({ mac: node, subnet: behindRelay });
  const renewing = message("request", { ciaddr: ip("10.88.0.10") });
  const ack = answered(handlePacket(renewing, context));
  t.is(ack.type, "ack");
  t.deepEqual(readOption(ack.packet.options, "router"), [ip("10.88.0.253")]);
  t.deepEqual<object, object>(ack.destination, { kind: "unicast", address: "10.88.0.10" });
  const inform = message("inform", { ciaddr: ip("10.88.0.10") });
  const told = answered(handlePacket(inform, context));
  t.deepEqual(readOption(told.packet.options, "router"), [ip("10.88.0.253")]);
});

test("a NAK through a relay sets the broadcast flag, and carries no address", (t) => {
  const packet = from("request", { giaddr: ip("10.77.0.253"), options: [asks(elsewhere)] });
  const reply = answered(handlePacket(packet, known(packet).context));
  t.is(reply.packet.flags, 0x8000);
  t.false(reply.packet.options.has(51));
});

test("a client that takes 576 octets gets no more, and loses only what it can do without", (t) => {
  const long = "x".repeat(120);
  const answer = {
    nextServer: own,
    bootFile: long,
    serverName: own,
    options: [[128, hex("00".repeat(120))]],
  } as const;
  const packet = fixture("ipxe-rom-2019-bios", "DISCOVER");
  const small = {
    ...packet,
    options: new Map([...packet.options, option("maximumMessageSize", 576)]),
  };
  const decision = handlePacket(small, known(small, { boot: { reply: () => answer } }).context);
  t.is(decision.kind, "reply");
  if (decision.kind !== "reply") return;
  const bytes = encodePacket(decision.packet);
  t.true(bytes.length <= 548);
  const reply = decodePacket(bytes);
  t.is(readOption(reply.options, "bootFileName"), long);
  t.is(reply.options.get(128)?.length, 120);
  t.false(reply.options.has(59));
});

test("options come in the order the client asks for, after those that frame the answer", (t) => {
  const packet = message("discover", {
    options: [
      option("parameterRequestList", hex("06 03 01")),
      option("clientIdentifier", hex("0152540000000001")),
    ],
  });
  const { packet: offer } = answered(handlePacket(packet, known(packet).context));
  t.deepEqual([...offer.options.keys()].slice(0, 6), [53, 54, 51, 6, 3, 1]);
});

// NetworkPkg/UefiPxeBcDxe/PxeBcDhcp4.c, PxeBcParseDhcp4Packet: the octet behind option 67 becomes 0.
test("behind the boot file's name stands the end option, which EDK2 may overwrite", (t) => {
  const packet = fixture("ovmf-x64-pxe", "DISCOVER");
  const { packet: offer } = answered(handlePacket(packet, known(packet).context));
  t.is([...offer.options.keys()].at(-1), 67);
});

const site: Subnet = {
  ...fixed,
  domainName: "rack.example",
  domainSearch: ["rack.example", "example"],
  ntp: [ip("10.77.0.3")],
  routes: [{ network: ip("10.80.0.0"), prefix: 16, via: ip("10.77.0.9") }],
};
const siteCodes = [15, 42, 119, 121];

test("domain, search list, time servers and routes are sent to whom asks for them", (t) => {
  const packet = message("discover", {
    options: [option("parameterRequestList", Uint8Array.from(siteCodes))],
  });
  const { options } = answered(
    handlePacket(packet, known(packet, { subnets: [site] }).context),
  ).packet;
  t.is(readOption(options, "domainName"), "rack.example");
  t.deepEqual(readOption(options, "domainSearch"), ["rack.example", "example"]);
  t.deepEqual(readOption(options, "ntpServers"), [ip("10.77.0.3")]);
  t.deepEqual(
    readOption(options, "classlessRoutes"),
    [
      { network: ip("10.80.0.0"), prefix: 16, via: ip("10.77.0.9") },
      { network: ip("0.0.0.0"), prefix: 0, via: ip("10.77.0.254") },
    ],
    "whoever takes option 121 ignores option 3 (RFC 3442)",
  );
});

test("they are not sent to whom asks for other things", (t) => {
  const packet = message("discover", { options: [option("parameterRequestList", hex("01 03"))] });
  const { options } = answered(
    handlePacket(packet, known(packet, { subnets: [site] }).context),
  ).packet;
  for (const code of siteCodes) t.false(options.has(code), `option ${code}`);
});

const otherServers = (heard: boolean) => {
  const chosen: string[] = [];
  return {
    chosen,
    others: {
      isProbe: (one: string) => one === "02:00:00:00:00:99",
      chosen: (server: string) => void chosen.push(server),
      areHeard: () => heard,
    },
  };
};

test("beside another server a stranger's address of another network is not refused", (t) => {
  const { others } = otherServers(true);
  const { context } = world({ subnets: [subnet], others });
  const packet = from("request", { options: [asks(elsewhere)] });
  t.is(outcome(handlePacket(packet, context)), "silence unknown-client");
});

test("a server that a client chose is told of; one that was chosen through a relay is not", (t) => {
  const { chosen, others } = otherServers(false);
  const { context } = world({ others });
  const options = [names(other), asks(wrong)];
  handlePacket(from("request", { options }), context);
  handlePacket(from("request", { options, giaddr: ip("10.77.0.253") }), context);
  t.deepEqual(chosen, ["10.77.0.2"]);
});

test("our own probe is not answered, even where strangers are", (t) => {
  const { others } = otherServers(false);
  const { context } = world({ subnets: [subnet], others });
  const packet = message("discover", { mac: "02:00:00:00:00:99" });
  t.is(outcome(handlePacket(packet, context)), "silence own-probe");
});

for (const [mode, expected] of [
  ["off", "silence off"],
  ["auto", "silence listening"],
] as const) {
  test(`mode ${mode} on its own: ${expected}`, (t) => {
    const packet = message("discover");
    const { context } = known(packet, { subnets: [{ ...fixed, mode }] });
    t.is(outcome(handlePacket(packet, context)), expected);
  });
}

test("mode reservation leaves strangers alone although there is a pool", (t) => {
  const { context } = world({ subnets: [{ ...subnet, mode: "reservation" }] });
  t.is(outcome(handlePacket(message("discover"), context)), "silence unknown-client");
});

const classed: Subnet = {
  ...subnet,
  classes: [
    {
      name: "no pool",
      match: { macPrefix: "52:54:00" },
      boot: true,
      pool: false,
      options: [],
    },
    {
      name: "no boot",
      match: { vendorClass: "PXEClient", architectures: [7] },
      boot: false,
      pool: true,
      options: [],
    },
    {
      name: "time server of its own",
      match: { vendorClass: "udhcp" },
      boot: true,
      pool: true,
      options: [[42, hex("0a4d0063")]],
    },
  ],
};

test("a class without pool keeps strangers out and lets known nodes in", (t) => {
  const { context, leases } = world({ subnets: [classed] });
  t.is(outcome(handlePacket(message("discover"), context)), "silence unknown-client");
  leases.reserve({ mac: node, subnet: classed });
  t.is(outcome(handlePacket(message("discover"), context)), "offer 10.77.0.10");
});

test("the firmware of a class that does not boot is left to its next boot source", (t) => {
  const { context } = world({ subnets: [classed] });
  const packet = message("discover", {
    mac: "02:00:00:00:00:01",
    options: [option("vendorClass", "PXEClient:Arch:00007:UNDI:003000")],
  });
  t.is(outcome(handlePacket(packet, context)), "silence no-boot-file");
});

test("a class's options are sent, and replace ours", (t) => {
  const { context } = world({ subnets: [{ ...classed, ntp: [ip("10.77.0.3")] }] });
  const packet = message("discover", {
    mac: "02:00:00:00:00:01",
    options: [option("vendorClass", "udhcp 1.35.0")],
  });
  const { options } = answered(handlePacket(packet, context)).packet;
  t.deepEqual(readOption(options, "ntpServers"), [ip("10.77.0.99")]);
});

test("that a firmware awaits an IPv6 router is handed on", (t) => {
  const packet = fixture("ovmf-x64-pxe", "DISCOVER");
  const answer = {
    nextServer: own,
    bootFile: "a",
    options: [],
    awaitsIpv6Router: true as const,
  };
  const { context } = known(packet, { boot: { reply: () => answer } });
  t.like(handlePacket(packet, context), { kind: "reply", awaitsIpv6Router: true });
});

test("a firmware's reply delay is handed on", (t) => {
  const packet = fixture("ovmf-x64-pxe", "DISCOVER");
  const delay = milliseconds(2000);
  const answer = { nextServer: own, bootFile: "a", options: [], delay };
  const { context } = known(packet, { boot: { reply: () => answer } });
  t.like(handlePacket(packet, context), { kind: "reply", delay });
});

test("a board prefix of the settings makes a Raspberry Pi of a BIOS PC", (t) => {
  const packet = message("discover", {
    options: [
      option("vendorClass", "PXEClient:Arch:00000:UNDI:002001"),
      option("clientArchitecture", [0]),
    ],
  });
  const { context } = known(packet, { raspberryPiPrefixes: { "52:54:00": "raspberry-pi-5" } });
  handlePacket(packet, context);
  t.like(context.recent.get(node)?.client, { firmware: "raspberry-pi-5", byOui: true });
});

test("an OS keeps its address by its client identifier when its network card is changed", (t) => {
  const { context } = world({ subnets: [subnet] });
  const identity = option("clientIdentifier", hex("ff 00000001 0001 2b1e5aa9 525400000001"));
  const before = message("discover", { options: [identity] });
  const first = answered(handlePacket(before, context)).packet.yiaddr;
  handlePacket(from("request", { options: [identity, names(own), asks(first)] }), context);
  handlePacket(message("discover", { mac: "52:54:00:00:00:08" }), context);
  const after = message("discover", { mac: "52:54:00:00:00:09", options: [identity] });
  t.is(outcome(handlePacket(after, context)), `offer ${first}`);
});

test("what boots goes by its hardware address, whatever identifier it sends", (t) => {
  const { context } = world({ subnets: [subnet] });
  const identity = option("clientIdentifier", hex("00 01020304"));
  const rom = fixture("ovmf-x64-pxe", "DISCOVER");
  const offers = ["52:54:00:00:00:21", "52:54:00:00:00:22"].map((one) => {
    const chaddr = new Uint8Array(16);
    chaddr.set(hex(one.replaceAll(":", "")));
    const packet = { ...rom, chaddr, options: new Map([...rom.options, identity]) };
    return outcome(handlePacket(packet, context));
  });
  t.deepEqual(offers, ["offer 10.77.0.100", "offer 10.77.0.101"]);
});
