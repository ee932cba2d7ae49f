import test from "ava";
import type { Ipv4Address, MacAddress } from "#protocol/brand.ts";
import { type DeliveryContext, openDelivery, type Reply } from "../../server/dhcp/delivery.ts";
import type { Destination } from "../../server/dhcp/destination.ts";
import { UnavailableError } from "../../server/errors.ts";
import { silentLog } from "../../server/log.ts";
import type { Neighbour } from "../../server/net/neighbours.ts";
import { message } from "../support/dhcp.ts";
import { manualClock, settle } from "../support/manual-clock.ts";
import { ip, mac } from "../support/network.ts";

const node = mac("52:54:00:00:00:0a");
const address = ip("10.77.0.10");
const everybody = ip("255.255.255.255");
const toClient: Destination = { kind: "neighbour", address, mac: node, fallback: "broadcast" };

function reply(destination: Destination, more: Partial<Reply> = {}): Reply {
  const packet = { ...message("discover"), operation: "reply", yiaddr: address } as const;
  return { kind: "reply", type: "offer", packet, destination, mac: node, ...more };
}

interface Setting {
  /** Packet socket: there, refused by the kernel, or not allowed. */
  readonly frames?: "sent" | "refused" | "none";
  readonly reserved?: boolean;
  /** What neighbour entries meet. */
  readonly entries?: "written" | "refused";
  readonly committed?: () => Promise<void>;
  /** The setting `routerAdvertisements`. */
  readonly tells?: boolean;
}

async function delivery(setting: Setting = {}) {
  const { frames = "sent", reserved = false, entries = "written" } = setting;
  const did: string[] = [];
  const clock = manualClock();
  const refuse = () => {
    if (entries === "refused") throw new UnavailableError("not permitted");
  };
  const note = (what: string) => (one: Neighbour) => {
    refuse();
    did.push(`${what} ${one.address}`);
  };
  const context: DeliveryContext = {
    interfaceName: "lan0",
    address: ip("10.77.0.1"),
    mac: setting.tells === false ? undefined : mac("52:54:00:00:00:01"),
    dhcpPort: 67,
    socket: {
      boundToDevice: true,
      port: 67,
      send: (_bytes, port, to) => void did.push(`datagram ${to}:${port}`),
      onMessage: () => undefined,
      close: async () => undefined,
    },
    leases: {
      committed: setting.committed ?? (async () => undefined),
      isCommitted: () => setting.committed === undefined,
      reservationOf: (asked: MacAddress) =>
        reserved ? { mac: asked, address, createdAt: clock.now() } : undefined,
    },
    neighbours: {
      set: note("entry"),
      setAll: () => undefined,
      correct: note("correct"),
      release: note("release"),
      remove: () => undefined,
      close: () => undefined,
    },
    clock,
    log: silentLog,
    count: (_name, outcome) => void did.push(`count ${outcome}`),
  };
  const made = await openDelivery(context, async () =>
    frames === "none"
      ? undefined
      : {
          send: ({ to }: { to: Ipv4Address }) => {
            if (frames === "sent") did.push(`frame ${to}`);
            return frames === "sent";
          },
          sendIpv6: (packet: Uint8Array, to: MacAddress) => {
            did.push(`IPv6 ${packet.length} octets ${to}`);
            return frames === "sent";
          },
          close: () => undefined,
        },
  );
  const deliver = async (one: Reply) => {
    made.send(one);
    await settle();
    return did;
  };
  return { deliver, did, clock };
}

const pi: Destination = { ...toClient, fallback: "silence" };
const table: readonly (readonly [string, Destination, Setting, readonly string[]])[] = [
  [
    "to a relay agent, the server's port",
    { kind: "relay", address },
    {},
    ["datagram 10.77.0.10:67"],
  ],
  [
    "to a client that has its address",
    { kind: "unicast", address },
    {},
    ["datagram 10.77.0.10:68"],
  ],
  [
    "to everybody, once no earlier entry is wrong",
    { kind: "broadcast", address: everybody },
    {},
    ["correct 10.77.0.10", "datagram 255.255.255.255:68"],
  ],
  [
    "to a client without an address, as a frame",
    toClient,
    {},
    ["correct 10.77.0.10", "frame 10.77.0.10"],
  ],
  [
    "to a reserved node, which gets an entry as well",
    toClient,
    { reserved: true },
    ["entry 10.77.0.10", "frame 10.77.0.10"],
  ],
  ["to a Raspberry Pi 3, which needs one", pi, {}, ["entry 10.77.0.10", "frame 10.77.0.10"]],
  [
    "by an entry where frames are not allowed",
    toClient,
    { frames: "none" },
    ["correct 10.77.0.10", "entry 10.77.0.10", "datagram 10.77.0.10:68"],
  ],
  [
    "by an entry where the kernel takes no frame",
    toClient,
    { frames: "refused", reserved: true },
    ["entry 10.77.0.10", "datagram 10.77.0.10:68"],
  ],
  [
    "broadcast where neither is allowed",
    toClient,
    { frames: "none", entries: "refused" },
    ["datagram 255.255.255.255:68"],
  ],
  [
    "a Raspberry Pi 3 nothing, as others would take it",
    pi,
    { frames: "none", entries: "refused" },
    [],
  ],
];
for (const [title, destination, setting, expected] of table) {
  test(`a reply goes ${title}`, async (t) => {
    const { deliver } = await delivery(setting);
    t.deepEqual(await deliver(reply(destination)), expected);
  });
}

test("nothing leaves that is not durable", async (t) => {
  const { deliver } = await delivery({
    committed: () => Promise.reject(new UnavailableError("no space left on device")),
  });
  t.deepEqual(await deliver(reply(toClient)), ["count not-durable"]);
});

test("a NAK promises nothing and waits for nothing", async (t) => {
  const { deliver } = await delivery({ committed: () => new Promise(() => undefined) });
  const nak = reply({ kind: "broadcast", address: everybody }, { type: "nak" });
  t.deepEqual(await deliver(nak), ["correct 10.77.0.10", "datagram 255.255.255.255:68"]);
});

test("a firmware's reply is held back as long as it needs", async (t) => {
  const { deliver, did, clock } = await delivery();
  await deliver(reply({ kind: "unicast", address }, { delay: 500 as never }));
  t.deepEqual(did, []);
  await clock.advance(500);
  t.deepEqual(did, ["datagram 10.77.0.10:68"]);
});

const awaiting = { awaitsIpv6Router: true } as const;
const told: readonly (readonly [string, Destination, Setting, readonly string[]])[] = [
  [
    "after its reply",
    { kind: "unicast", address },
    {},
    ["datagram 10.77.0.10:68", "IPv6 56 octets 52:54:00:00:00:0a"],
  ],
  ["not behind a relay agent", { kind: "relay", address }, {}, ["datagram 10.77.0.10:67"]],
  [
    "not where the settings say so",
    { kind: "unicast", address },
    { tells: false },
    ["datagram 10.77.0.10:68"],
  ],
  [
    "not where frames are not allowed",
    { kind: "unicast", address },
    { frames: "none" },
    ["datagram 10.77.0.10:68"],
  ],
];
for (const [title, destination, setting, expected] of told) {
  test(`a client that awaits an IPv6 router is told that there is none: ${title}`, async (t) => {
    const { deliver } = await delivery(setting);
    t.deepEqual(await deliver(reply(destination, awaiting)), expected);
  });
}
