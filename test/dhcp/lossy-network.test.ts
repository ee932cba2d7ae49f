/** A rack behind a bad network: messages are lost, doubled and overtake each other, by seed. */

import test from "ava";
import type { Ipv4Address, MacAddress } from "#protocol/brand.ts";
import type { Subnet } from "../../server/config.ts";
import { option, readMessageType, readOption } from "../../server/dhcp/codec/options.ts";
import { type DhcpPacket, decodePacket, encodePacket } from "../../server/dhcp/codec/packet.ts";
import type { HandlerContext } from "../../server/dhcp/decision.ts";
import { handlePacket } from "../../server/dhcp/handler.ts";
import { createRecent } from "../../server/dhcp/recent.ts";
import { macOf, message } from "../support/dhcp.ts";
import { ip, network, subnet } from "../support/network.ts";
import { createRandom, type Random } from "../support/random.ts";

const own = ip("10.77.0.1");
const wide: Subnet = {
  ...subnet,
  cidr: "10.77.0.0/16",
  broadcast: ip("10.77.255.255"),
  netmask: ip("255.255.0.0"),
  pool: { first: ip("10.77.4.0"), last: ip("10.77.8.255") },
};

/** A client that asks again until it is bound, as RFC 2131 §4.4 has it, without timers. */
class Client {
  readonly mac: MacAddress;
  readonly #discover: DhcpPacket;
  #offered: Ipv4Address | undefined;
  address: Ipv4Address | undefined;

  constructor(index: number) {
    const octets = [index >> 8, index & 255].map((one) => one.toString(16).padStart(2, "0"));
    // every other one shares its transaction id with all of them, as the Raspberry Pi 3 does
    const xid = index % 2 === 0 ? 0x26f30339 : index;
    this.#discover = message("discover", { mac: `52:54:00:00:${octets.join(":")}`, xid });
    this.mac = macOf(this.#discover);
  }

  /** What it sends now. */
  ask(): DhcpPacket | undefined {
    if (this.address) return undefined;
    if (!this.#offered) return this.#discover;
    const choice = [option("serverIdentifier", own), option("requestedAddress", this.#offered)];
    const options = [...this.#discover.options, ...message("request", { options: choice }).options];
    return { ...this.#discover, options: new Map(options) };
  }

  hear(reply: DhcpPacket): void {
    if (reply.xid !== this.#discover.xid) return;
    const type = readMessageType(reply.options);
    if (type === "offer" && !this.#offered) this.#offered = reply.yiaddr;
    if (type === "ack" && reply.yiaddr === this.#offered) this.address = reply.yiaddr;
    if (type === "nak") this.#offered = undefined;
  }
}

/** Lost: 3 of 10. Doubled: 1 of 10. And the rest in any order. */
function mistreat<T>(messages: readonly T[], random: Random): readonly T[] {
  return messages
    .flatMap((one) => (random.below(10) < 3 ? [] : random.below(10) === 0 ? [one, one] : [one]))
    .map((one) => [random.below(1_000_000), one] as const)
    .sort(([a], [b]) => a - b)
    .map(([, one]) => one);
}

for (const seed of [1, 2, 3]) {
  test(`1000 clients behind 30 % loss, doubling and reordering get one address each (seed ${seed})`, (t) => {
    const { leases, events } = network();
    const context: HandlerContext = {
      subnets: [wide],
      server: { address: own, httpUrl: "" },
      leases,
      admission: { heard: () => undefined },
      boot: { reply: () => ({ nextServer: own, options: [] }) },
      events,
      recent: createRecent(),
    };
    const random = createRandom(seed);
    const clients = Array.from({ length: 1000 }, (_, index) => new Client(index));
    const byMac = new Map(clients.map((client) => [client.mac, client]));
    let rounds = 0;
    for (; clients.some(({ address }) => !address) && rounds < 100; rounds++) {
      const asked = clients.flatMap((client) => client.ask() ?? []);
      const replies = mistreat(asked, random).flatMap((packet) => {
        const decision = handlePacket(decodePacket(encodePacket(packet)), context);
        return decision.kind === "reply" ? [decodePacket(encodePacket(decision.packet))] : [];
      });
      for (const reply of mistreat(replies, random)) byMac.get(macOf(reply))?.hear(reply);
    }
    t.true(rounds < 100, "all were bound");
    t.is(new Set(clients.map(({ address }) => address)).size, 1000);
    const bound = leases.list().filter(({ state }) => state === "bound");
    t.is(bound.length, 1000);
  });
}

test("a parameter request list of any single code is answered", (t) => {
  const { leases, events } = network();
  const context: HandlerContext = {
    subnets: [subnet],
    server: { address: own, httpUrl: "" },
    leases,
    admission: { heard: () => undefined },
    boot: { reply: () => undefined },
    events,
    recent: createRecent(),
  };
  for (let code = 0; code < 256; code++) {
    const list = option("parameterRequestList", Uint8Array.of(code));
    const decision = handlePacket(message("discover", { options: [list] }), context);
    if (decision.kind !== "reply") return t.fail(`code ${code}: ${decision.reason}`);
    const { options } = decodePacket(encodePacket(decision.packet));
    t.is(readOption(options, "leaseTime"), 3600, `code ${code}`);
  }
});
