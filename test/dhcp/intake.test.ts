import test from "ava";
import type { MacAddress, Milliseconds } from "#protocol/brand.ts";
import { encodePacket } from "../../server/dhcp/codec/packet.ts";
import { createIntake, type Standing } from "../../server/dhcp/intake.ts";
import { message } from "../support/dhcp.ts";

const reserved = "52:54:00:00:00:0a";
const leased = "52:54:00:00:00:0b";

function intake() {
  const handled: string[] = [];
  const told: string[] = [];
  const dropped: string[] = [];
  const laters: (() => void)[] = [];
  let now = 0;
  const standings = new Map<MacAddress, Standing>([
    [reserved as MacAddress, "reserved"],
    [leased as MacAddress, "leased"],
  ]);
  const made = createIntake<string>({
    standingOf: (mac) => standings.get(mac) ?? "stranger",
    handle(mac, isTold) {
      handled.push(mac);
      if (isTold) told.push(mac);
    },
    drop: (mac) => void dropped.push(mac),
    clock: { monotonic: () => now as Milliseconds },
    later: (work) => void laters.push(work),
  });
  return {
    handled,
    told,
    dropped,
    take: (mac: string) => made.take(encodePacket(message("discover", { mac })), mac),
    /** What happens once the sockets were read. */
    turn: () => laters.shift()?.(),
    allTaken: () => made.allTaken(),
    pass: (ms: number) => {
      now += ms;
    },
  };
}

const stranger = (index: number) =>
  `02:00:00:00:${(index >> 8).toString(16).padStart(2, "0")}:${(index & 255).toString(16).padStart(2, "0")}`;

test("a node that has an address is served before strangers that came first", (t) => {
  const { take, turn, handled } = intake();
  take(stranger(1));
  take(leased);
  take(reserved);
  t.deepEqual(handled, [leased, reserved]);
  turn();
  t.deepEqual(handled, [leased, reserved, stranger(1)]);
});

test("a stranger does not wait for the next turn when the socket is empty", (t) => {
  const { take, turn, allTaken, handled } = intake();
  take(stranger(1));
  allTaken();
  t.deepEqual(handled, [stranger(1)]);
  turn();
  t.deepEqual(handled, [stranger(1)]);
});

test("strangers are served in their order, a few per turn", (t) => {
  const { take, turn, handled } = intake();
  for (let index = 0; index < 40; index++) take(stranger(index));
  turn();
  t.is(handled.length, 32);
  turn();
  t.deepEqual(
    handled,
    Array.from({ length: 40 }, (_, index) => stranger(index)),
  );
});

test("of too many strangers the oldest are dropped", (t) => {
  const { take, dropped } = intake();
  for (let index = 0; index < 515; index++) take(stranger(index));
  t.deepEqual(dropped, [stranger(0), stranger(1), stranger(2)]);
});

test("a known node that sends without end is held to 32 messages a second", (t) => {
  const { take, handled, dropped, pass } = intake();
  for (let count = 0; count < 40; count++) take(reserved);
  t.deepEqual([handled.length, dropped.length], [32, 8]);
  take(leased);
  t.is(handled.length, 33);
  pass(1000);
  take(reserved);
  t.is(handled.length, 34);
});

test("a flood is told of for a while, a reserved node always", (t) => {
  const { take, turn, told, handled } = intake();
  for (let index = 0; index < 600; index++) {
    take(stranger(index));
    turn();
  }
  take(reserved);
  t.is(handled.length, 601);
  t.is(told.length, 513);
  t.is(told.at(-1), reserved);
});

test("a message too short for a hardware address is a stranger's", (t) => {
  const handled: string[] = [];
  const made = createIntake<string>({
    standingOf: (mac) => (mac === "00:00:00:00:00:00" ? "stranger" : "reserved"),
    handle: (name) => void handled.push(name),
    drop: () => undefined,
    clock: { monotonic: () => 0 as Milliseconds },
    later: (work) => work(),
  });
  made.take(new Uint8Array(10), "short");
  t.deepEqual(handled, ["short"]);
});
