import test, { type ExecutionContext } from "ava";
import { familyOf } from "../../server/boot/firmware/registry.ts";
import { decodePacket, encodePacket } from "../../server/dhcp/codec/packet.ts";
import type { HandlerContext } from "../../server/dhcp/decision.ts";
import { openProxyPort } from "../../server/dhcp/proxy-port.ts";
import { createRecent } from "../../server/dhcp/recent.ts";
import { silentLog } from "../../server/log.ts";
import { fixture, macOf, message } from "../support/dhcp.ts";
import { fakeNetwork } from "../support/fake-socket.ts";
import { ip, network, subnet, withoutPool } from "../support/network.ts";

const own = ip("10.77.0.1");
const client = "10.77.0.150";

async function world(t: ExecutionContext, change: Partial<HandlerContext> = {}) {
  const net = network();
  const fake = fakeNetwork();
  const outcomes: string[] = [];
  const port = await openProxyPort({
    interfaceName: "lan0",
    address: own,
    port: 4011,
    handler: {
      subnets: [{ ...withoutPool(subnet), mode: "proxy" }],
      server: { address: own, httpUrl: "http://10.77.0.1:8080" },
      leases: net.leases,
      admission: { heard: () => undefined },
      boot: {
        reply: (one, server) => one.firmware && familyOf(one.firmware)?.reply(one, server, "ipxe"),
      },
      events: net.events,
      recent: createRecent(),
      ...change,
    },
    clock: net.clock,
    log: silentLog,
    onOutcome: (outcome) => void outcomes.push(outcome),
    openSocket: fake.open,
  });
  t.teardown(() => port.close());
  const [socket] = fake.sockets;
  return { ...net, outcomes, socket, port };
}

const asks = encodePacket({ ...fixture("ovmf-x64-pxe", "REQUEST"), ciaddr: ip(client) });

test("a boot request is answered to the port it came from, and told of", async (t) => {
  const { outcomes, published, socket } = await world(t);
  socket?.receive(asks, client, 51_000);
  const [sent] = socket?.sent ?? [];
  t.like(sent, { port: 51_000, address: client });
  t.is(decodePacket(sent?.bytes ?? new Uint8Array()).file, "ipxe-x64.efi");
  t.deepEqual(outcomes, ["ack"]);
  t.like(published.at(-1), {
    topic: "dhcp",
    mac: macOf(fixture("ovmf-x64-pxe", "REQUEST")),
    outcome: "ack",
    address: ip(client),
    firmware: "uefi-pxe-x64",
    file: "ipxe-x64.efi",
  });
});

const dropped = [
  ["garbage", Uint8Array.of(1, 2, 3), "malformed"],
  ["a DISCOVER", encodePacket(message("discover")), "not-a-request"],
  ["an OS's request", encodePacket(message("request", { ciaddr: ip(client) })), "proxied"],
] as const;
for (const [title, bytes, outcome] of dropped) {
  test(`${title} is counted as ${outcome} and not answered`, async (t) => {
    const { outcomes, socket } = await world(t);
    socket?.receive(bytes, client, 68);
    t.deepEqual(outcomes, [outcome]);
    t.deepEqual(socket?.sent, []);
  });
}

test("a fault of one request is counted, and the next is answered", async (t) => {
  let calls = 0;
  const { outcomes, socket } = await world(t, {
    boot: {
      reply: () => {
        calls += 1;
        if (calls === 1) throw new TypeError("broken");
        return { nextServer: own, bootFile: "a", options: [] };
      },
    },
  });
  socket?.receive(asks, client, 68);
  socket?.receive(asks, client, 68);
  t.deepEqual(outcomes, ["failed", "ack"]);
});

test("of a flood of boot requests every one is answered, and few are told of", async (t) => {
  const { published, socket } = await world(t);
  for (let count = 0; count < 2000; count++) socket?.receive(asks, client, 68);
  t.is(socket?.sent.length, 2000);
  t.is(published.filter(({ topic }) => topic === "dhcp").length, 512);
});
