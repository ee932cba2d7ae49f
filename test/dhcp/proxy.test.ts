import test from "ava";
import { familyOf } from "../../server/boot/firmware/registry.ts";
import type { Subnet } from "../../server/config.ts";
import { option, readOption } from "../../server/dhcp/codec/options.ts";
import { type DhcpPacket, decodePacket, encodePacket } from "../../server/dhcp/codec/packet.ts";
import type { Decision, HandlerContext } from "../../server/dhcp/decision.ts";
import { handlePacket } from "../../server/dhcp/handler.ts";
import type { Modes, ServingMode } from "../../server/dhcp/mode.ts";
import { handleBootRequest } from "../../server/dhcp/proxy.ts";
import { createRecent } from "../../server/dhcp/recent.ts";
import { createSightings } from "../../server/dhcp/sightings.ts";
import { fixture, macOf, message, pi3Discover, pi4Discover } from "../support/dhcp.ts";
import { ip, type Network, network, subnet, withoutPool } from "../support/network.ts";
import { noKeeper } from "../support/no-keeper.ts";
import { hex } from "../support/vectors.ts";

const own = ip("10.77.0.1");
const other = ip("10.77.0.2");
const given = ip("10.77.0.150");
const proxied: Subnet = { ...withoutPool(subnet), mode: "proxy" };

type World = Network & { readonly context: HandlerContext & { sightings: object } };

function world(change: Partial<HandlerContext> = {}): World {
  const net = network();
  const context = {
    subnets: [proxied] as const,
    server: { address: own, httpUrl: "http://10.77.0.1:8080" },
    leases: net.leases,
    admission: { heard: () => undefined },
    boot: {
      reply: (client, server) =>
        client.firmware && familyOf(client.firmware)?.reply(client, server, "ipxe"),
    } satisfies HandlerContext["boot"],
    events: net.events,
    recent: createRecent(),
    sightings: createSightings({
      clock: net.clock,
      neighbourOf: () => undefined,
      keeper: noKeeper,
    }),
    ...change,
  };
  return { ...net, context };
}

function answered(decision: Decision): Decision & { kind: "reply"; packet: DhcpPacket } {
  if (decision.kind !== "reply") throw new RangeError(`silence: ${decision.reason}`);
  return { ...decision, packet: decodePacket(encodePacket(decision.packet)) };
}

function outcome(decision: Decision): string {
  return decision.kind === "reply" ? decision.type : `silence ${decision.reason}`;
}

/** What would disturb the other server's word, and so must not be in any answer. */
const addressCodes = [1, 3, 6, 12, 15, 28, 51, 58, 59];

const firmware: readonly (readonly [title: string, packet: DhcpPacket, file: string])[] = [
  ["OVMF x64", fixture("ovmf-x64-pxe", "DISCOVER"), "ipxe-x64.efi"],
  ["AAVMF arm64", fixture("aavmf-arm64-pxe", "DISCOVER"), "ipxe-arm64.efi"],
  ["Raspberry Pi 3", pi3Discover(), ""],
  ["Raspberry Pi 4", pi4Discover(), ""],
  [
    "a BIOS ROM",
    message("discover", {
      options: [
        option("vendorClass", "PXEClient:Arch:00000:UNDI:002001"),
        option("clientArchitecture", [0]),
      ],
    }),
    "undionly.kpxe",
  ],
];
for (const [title, packet, file] of firmware) {
  test(`${title} gets the boot part without an address, to all`, (t) => {
    const { context, leases } = world();
    const { packet: offer, type, destination } = answered(handlePacket(packet, context));
    t.is(type, "offer");
    t.is(String(offer.yiaddr), "0.0.0.0");
    t.is(String(offer.siaddr), "10.77.0.1");
    t.is(offer.file, file);
    t.is(readOption(offer.options, "vendorClass"), "PXEClient");
    t.is(String(readOption(offer.options, "serverIdentifier")), "10.77.0.1");
    t.deepEqual(offer.options.get(97), packet.options.get(97));
    for (const code of addressCodes) t.false(offer.options.has(code), `option ${code}`);
    t.is(destination.kind, "broadcast");
    t.deepEqual(leases.list(), []);
  });
}

test("a BIOS ROM is told not to look for boot servers (43.6 = 8), a Raspberry Pi its name", (t) => {
  const { context } = world();
  const [, , , , bios] = firmware;
  const vendor = (packet: DhcpPacket) =>
    answered(handlePacket(packet, context)).packet.options.get(43)?.toHex();
  t.is(bios && vendor(bios[1]), "060108ff");
  t.regex(String(vendor(pi4Discover())), /52617370626572727920506920426f6f74/);
});

test("UEFI HTTP boot stays HTTP boot, and iPXE gets its script as a PXE client", (t) => {
  const { context } = world();
  const http = answered(handlePacket(fixture("ovmf-x64-http", "DISCOVER"), context)).packet;
  t.is(readOption(http.options, "vendorClass"), "HTTPClient");
  t.regex(readOption(http.options, "bootFileName") ?? "", /^http:/);
  const decision = answered(handlePacket(fixture("ipxe-2025-efi-x64", "DISCOVER"), context));
  t.true(decision.awaitsIpv6Router);
  const ipxe = decision.packet;
  t.is(readOption(ipxe.options, "vendorClass"), "PXEClient");
  t.regex(readOption(ipxe.options, "bootFileName") ?? "", /boot\.ipxe$/);
});

test("a Raspberry Pi 3 is answered later than the other server answers it", (t) => {
  const decision = answered(handlePacket(pi3Discover(), world().context));
  t.is(Number(decision.delay), 2000);
});

const pxe = fixture("ovmf-x64-pxe", "DISCOVER");
const request = (options: readonly (readonly [number, Uint8Array])[], ciaddr = ip("0.0.0.0")) => ({
  ...fixture("ovmf-x64-pxe", "REQUEST"),
  ciaddr,
  options: new Map(
    [...fixture("ovmf-x64-pxe", "REQUEST").options]
      .filter(([code]) => code !== 50 && code !== 54)
      .concat(options.map(([code, value]) => [code, value])),
  ),
});
const silent: readonly (readonly [title: string, packet: DhcpPacket, expected: string])[] = [
  ["an OS's DISCOVER", message("discover"), "silence proxied"],
  [
    "a REQUEST for the other server",
    request([option("serverIdentifier", other), option("requestedAddress", given)]),
    "silence other-server",
  ],
  ["a REQUEST after a reboot", request([option("requestedAddress", given)]), "silence proxied"],
  ["a renewal of an OS", message("request", { ciaddr: given }), "silence proxied"],
  ["RELEASE", message("release", { ciaddr: given }), "silence proxied"],
  [
    "a firmware nobody has a loader for",
    message("discover", { options: [option("vendorClass", "PXEClient:Arch:00027:UNDI:003000")] }),
    "silence no-boot-file",
  ],
  ["a REQUEST that names us", request([option("serverIdentifier", own)]), "ack"],
  ["a boot request sent to port 67", request([], given), "ack"],
];
for (const [title, packet, expected] of silent) {
  test(`${title}: ${expected}`, (t) => {
    t.is(outcome(handlePacket(packet, world().context)), expected);
  });
}

test("a boot request on port 4011 is acknowledged to where it came from", (t) => {
  const { context } = world();
  const { packet, type, destination } = answered(
    handleBootRequest(request([], given), given, context),
  );
  t.is(type, "ack");
  t.is(packet.file, "ipxe-x64.efi");
  t.is(readOption(packet.options, "vendorClass"), "PXEClient");
  t.is(String(packet.yiaddr), "0.0.0.0");
  for (const code of addressCodes) t.false(packet.options.has(code), `option ${code}`);
  t.deepEqual<object, object>(destination, { kind: "unicast", address: "10.77.0.150" });
});

test("the menu entry of a boot request is in its answer (PXE 2.1, table 2-1, tag 71)", (t) => {
  const asked = request([[43, hex("47 04 0000 0000 ff")]], given);
  const { packet } = answered(handleBootRequest(asked, given, world().context));
  t.is(packet.options.get(43)?.toHex(), "470400000000ff");
});

test("on port 4011 nobody is answered from elsewhere, in another mode, or to a DISCOVER", (t) => {
  const asked = request([], given);
  t.is(
    outcome(handleBootRequest(asked, ip("192.168.1.5"), world().context)),
    silence("foreign-subnet"),
  );
  t.is(outcome(handleBootRequest(pxe, given, world().context)), silence("not-a-request"));
  const serving = world({ subnets: [subnet] });
  t.is(outcome(handleBootRequest(asked, given, serving.context)), silence("proxied"));
  const off = world({ subnets: [{ ...subnet, mode: "off" }] });
  t.is(outcome(handleBootRequest(asked, given, off.context)), silence("off"));
});

function silence(reason: string): string {
  return `silence ${reason}`;
}

test("the address a client takes from the other server is known by its REQUEST", (t) => {
  const { context } = world();
  handlePacket(pxe, context);
  t.is(context.sightings?.macOf(given), undefined);
  handlePacket(
    request([option("serverIdentifier", other), option("requestedAddress", given)]),
    context,
  );
  t.is(String(context.sightings?.macOf(given)), String(macOf(pxe)));
});

test("the address of a boot request on port 4011 is known by where it came from", (t) => {
  const { context } = world();
  handleBootRequest(request([], given), given, context);
  t.is(String(context.sightings?.macOf(given)), String(macOf(pxe)));
});

test("mode auto beside another server boots the known, and strangers where there is a pool", (t) => {
  const modes: Modes = { of: () => "proxy" };
  const auto: Subnet = { ...proxied, mode: "auto" };
  const closed = world({ modes, subnets: [auto] });
  t.is(outcome(handlePacket(pxe, closed.context)), silence("unknown-client"));
  closed.leases.reserve({ mac: macOf(pxe), subnet: auto });
  t.is(outcome(handlePacket(pxe, closed.context)), "offer");
  const open = world({ modes, subnets: [{ ...subnet, mode: "auto" }] });
  t.is(outcome(handlePacket(pxe, open.context)), "offer");
});

test("an address that mode auto gives itself later is no longer the other server's client's", (t) => {
  const modes: { now: ServingMode } = { now: "proxy" };
  const auto: Subnet = { ...subnet, mode: "auto" };
  const { context } = world({ modes: { of: () => modes.now }, subnets: [auto] });
  handlePacket(pxe, context);
  const address = ip("10.77.0.100");
  handlePacket(
    request([option("serverIdentifier", other), option("requestedAddress", address)]),
    context,
  );
  t.is(String(context.sightings?.macOf(address)), String(macOf(pxe)));
  modes.now = "dynamic";
  t.like(handlePacket(message("discover"), context), { packet: { yiaddr: address } });
  t.is(context.sightings?.macOf(address), undefined);
});

test("a relay agent that was named gets the boot part for its client", (t) => {
  const packet = { ...pxe, giaddr: ip("10.77.0.253") };
  t.like(handlePacket(packet, world().context), {
    destination: { kind: "relay", address: "10.77.0.253" },
  });
});
