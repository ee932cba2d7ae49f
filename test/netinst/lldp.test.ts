import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import { decodeLldp } from "../../netinst/lldp.ts";
import { decodeCdp } from "../../netinst/lldp-cdp.ts";
import { createPortList, tellSwitchPorts } from "../../netinst/lldp-listener.ts";

const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ""), "hex");
const tlv = (type: number, value: Uint8Array) =>
  Buffer.concat([Buffer.from([(type << 1) | (value.length >> 8), value.length & 255]), value]);
const id = (subtype: number, value: Uint8Array | string) =>
  Buffer.concat([Buffer.from([subtype]), Buffer.from(value)]);

// IEEE 802.1AB-2016 §8: chassis 02:00:00:00:00:01, port "gi1/0/7" by its name, 120 s, "to a/1", "sw1".
const whole = hex(
  "0207 04020000000001  0408 05 6769312f302f37  0602 0078  0806 746f20612f31  0a03 737731  0000",
);

test("a switch's unit tells chassis, port, description and name", (t) => {
  t.deepEqual(decodeLldp(whole), {
    port: {
      protocol: "lldp",
      chassis: "02:00:00:00:00:01",
      port: "gi1/0/7",
      description: "to a/1",
      system: "sw1",
    },
    seconds: 120,
  });
});

test("what fills a short frame after the end counts for nothing", (t) => {
  t.deepEqual(decodeLldp(Buffer.concat([whole, Buffer.alloc(20, 0xff)])), decodeLldp(whole));
});

const mac = hex("020000000001");
const [chassis, port, live] = [tlv(1, id(4, mac)), tlv(2, id(5, "gi7")), tlv(3, hex("0078"))];
const portWritten: readonly (readonly [title: string, value: Uint8Array, written: string])[] = [
  ["an alias", id(1, "uplink of a/1"), "uplink of a/1"],
  ["a component", id(2, hex("0001")), "0x0001"],
  ["a hardware address", id(3, hex("02000000000a")), "02:00:00:00:00:0a"],
  ["a network address", id(4, hex("010a4d0001")), "10.77.0.1"],
  ["an address of another family", id(4, hex("02fe80")), "0x02fe80"],
  ["a name", id(5, "Gi1/0/7"), "Gi1/0/7"],
  ["a circuit id", id(6, hex("00040007")), "0x00040007"],
  ["a number", id(7, "7"), "7"],
  ["octets that are no text", id(7, hex("0007")), "0x0007"],
];
for (const [title, value, written] of portWritten) {
  test(`a port's id is ${title}`, (t) => {
    const said = decodeLldp(Buffer.concat([chassis, tlv(2, value), live]));
    t.is(said?.port.port, written);
  });
}

const refused: readonly (readonly [title: string, parts: readonly Uint8Array[]])[] = [
  ["without members", [hex("0000")]],
  ["without a port", [chassis, live]],
  ["without a time to live", [chassis, port]],
  ["with its members in another order", [port, chassis, live]],
  ["with two chassis", [chassis, port, live, chassis]],
  ["whose port has no octets", [chassis, tlv(2, hex("05")), live]],
  ["whose port is of a reserved kind", [chassis, tlv(2, id(0, "x")), live]],
  ["whose time to live is cut short", [chassis, port, tlv(3, hex("01"))]],
  ["with a member that runs past the end", [chassis, port, live, hex("0a09 7377")]],
  ["that ends in half a header", [chassis, port, live, hex("0a")]],
];
for (const [title, parts] of refused) {
  test(`a unit ${title} is dropped`, (t) => {
    t.is(decodeLldp(Buffer.concat(parts)), undefined);
  });
}

const cdpHeader = hex("aaaa0300000c2000 02b4 0000");
const cdp = (type: number, text: string) => {
  const member = Buffer.alloc(4 + text.length);
  member.writeUInt16BE(type, 0);
  member.writeUInt16BE(member.length, 2);
  member.write(text, 4, "latin1");
  return member;
};

test("CDP tells switch and port", (t) => {
  const unit = Buffer.concat([
    cdpHeader,
    cdp(1, "sw1.example"),
    cdp(6, "cisco WS-C2960"),
    cdp(3, "GigabitEthernet1/0/7"),
  ]);
  t.deepEqual(decodeCdp(unit), {
    port: {
      protocol: "cdp",
      chassis: "sw1.example",
      port: "GigabitEthernet1/0/7",
      system: "sw1.example",
    },
    seconds: 180,
  });
});

test("other frames with a length and CDP that breaks off are dropped", (t) => {
  t.is(decodeCdp(hex("424203000000000000000000")), undefined); // a bridge's hello
  t.is(decodeCdp(Buffer.concat([cdpHeader, cdp(1, "sw1")])), undefined);
  t.is(decodeCdp(Buffer.concat([cdpHeader, cdp(1, "sw1"), hex("00030002")])), undefined);
  t.is(decodeCdp(Buffer.concat([cdpHeader, cdp(1, "sw1"), hex("00030040 67")])), undefined);
});

testProp(
  "any bytes are decoded or dropped",
  [fc.uint8Array({ maxLength: 400 }), fc.nat(400), fc.nat(255)],
  (t, bytes, at, octet) => {
    const damaged = Uint8Array.from(whole);
    damaged[at % damaged.length] = octet;
    const units = [bytes, damaged, whole.subarray(0, at % whole.length)];
    const said = [
      ...units.map(decodeLldp),
      decodeCdp(bytes),
      decodeCdp(Buffer.concat([cdpHeader, bytes])),
    ];
    for (const one of said) {
      if (one === undefined) continue;
      t.true(one.port.port.length > 0 && one.port.port.length <= 512);
      t.true(one.port.chassis.length > 0 && one.port.chassis.length <= 512);
      t.true(one.seconds >= 0 && one.seconds <= 65_535);
    }
    t.pass();
  },
  { numRuns: 10_000 },
);

const advertisement = (name: string, seconds = 120) => ({
  port: { protocol: "lldp", chassis: "sw1", port: name } as const,
  seconds,
});

test("a port counts until its time is over, or its switch says goodbye", (t) => {
  const list = createPortList();
  const names = (now: number) => list.list(now).map(({ port }) => port);
  list.add(advertisement("gi1"), 0);
  list.add(advertisement("gi2", 10), 0);
  t.deepEqual(names(9_999), ["gi1", "gi2"]);
  t.deepEqual(names(10_000), ["gi1"]);
  list.add(advertisement("gi1", 0), 10_000);
  t.deepEqual(names(10_000), []);
});

test("of too many ports those count that came first, until one is silent", (t) => {
  const list = createPortList();
  const names = (now: number) => list.list(now).map(({ port }) => port);
  for (let number = 1; number <= 8; number++) list.add(advertisement(`gi${number}`), 0);
  list.add(advertisement("gi9"), 1);
  t.deepEqual(names(1), ["gi1", "gi2", "gi3", "gi4", "gi5", "gi6", "gi7", "gi8"]);
  for (let number = 2; number <= 8; number++) list.add(advertisement(`gi${number}`), 60_000);
  t.is(names(120_000).length, 7);
  list.add(advertisement("gi9"), 120_000);
  t.deepEqual(names(120_000).at(-1), "gi9");
});

test("the server is told what is heard once, and again what is new, in whatever order it comes", async (t) => {
  const [one, other] = [advertisement("gi1").port, advertisement("gi2").port];
  const hearings = [[], [one], [one], [one, other], [other, one]];
  const done = new AbortController();
  const posts: unknown[] = [];
  const listener = {
    heard() {
      const [now, ...later] = hearings.splice(0);
      hearings.push(...later);
      if (later.length === 0) done.abort();
      return now ?? [];
    },
  };
  const connection = {
    post: async (path: string, body: unknown) => void posts.push([path, body]),
    get: async () => undefined,
    rest: () => undefined,
    close: () => undefined,
  };
  const console = { info: () => t.fail(), warn: () => t.fail(), take: () => [] };
  await tellSwitchPorts(listener, { connection, console, periodMs: 1 }, done.signal);
  t.deepEqual(posts, [
    ["/agent/v1/switch-ports", { heard: [one] }],
    ["/agent/v1/switch-ports", { heard: [one, other] }],
  ]);
});
