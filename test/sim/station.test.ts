import test from "ava";
import { parseMacAddress } from "#protocol/brand.ts";
import { decodeFrame, encodeArp } from "../../server/sim/frame.ts";
import { Station, type StationHabits } from "../../server/sim/station.ts";

const address = 0x0a4d_0064; // 10.77.0.100
const server = { senderMac: Uint8Array.of(2, 0, 0, 0, 0, 1), sender: 0x0a4d_0001 };
const who = (target: number) =>
  encodeArp({ isRequest: true, ...server, targetMac: new Uint8Array(6), target });

function station(answersArp: StationHabits["answersArp"], sent: Uint8Array[]): Station {
  const mac = parseMacAddress("b8:27:eb:00:00:01");
  const made = new Station(mac, { ttl: 64, udpChecksum: true, answersArp }, (frame) => {
    sent.push(frame);
  });
  made.address = address;
  return made;
}

const table = [
  ["a board answers ARP for its own address", "always", false, address, 1],
  ["and goes on while it fetches", "always", true, address, 1],
  ["a Pi 3 answers before its first data", "until-data", false, address, 1],
  ["a Pi 3 does not answer once data has come", "until-data", true, address, 0],
  ["nobody answers for another's address", "always", false, address + 1, 0],
] as const;
for (const [title, habit, hasData, target, answers] of table) {
  test(title, (t) => {
    const sent: Uint8Array[] = [];
    const board = station(habit, sent);
    board.hasData = hasData;
    t.is(board.hear(who(target)), undefined);
    t.is(sent.length, answers);
  });
}

test("a board without an address answers no ARP", (t) => {
  const sent: Uint8Array[] = [];
  const board = station("always", sent);
  board.address = 0;
  board.hear(who(0));
  t.is(sent.length, 0);
});

test("an address is resolved by ARP: four questions a second apart, or the answer", (t) => {
  const sent: Uint8Array[] = [];
  const board = station("always", sent);
  const asking = board.resolve(server.sender);
  let step = asking.next();
  for (; !step.done; step = asking.next(undefined)) board.now = step.value;
  t.is(step.value, undefined);
  t.is(sent.length, 4);
  t.is(board.now, 4000);

  const again = board.resolve(server.sender);
  again.next();
  const targetMac = board.macBytes;
  board.hear(encodeArp({ isRequest: false, ...server, targetMac, target: address }));
  t.deepEqual(again.next(undefined), { done: true, value: server.senderMac });
});

test("what is behind the router is sent to the router", (t) => {
  const sent: Uint8Array[] = [];
  const board = station("always", sent);
  board.netmask = 0xffff_ff00;
  board.router = 0x0a4d_00fe;
  board.resolve(0x0808_0808).next();
  const [asked] = sent.map(decodeFrame);
  t.like(asked, { kind: "arp", isRequest: true, target: board.router });
});
