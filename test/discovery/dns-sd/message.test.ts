import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import {
  type DnsRecord,
  decodeDns,
  encodeDns,
  type Name,
} from "../../../server/discovery/shared/dns-sd/message.ts";

function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(/[^0-9a-f]/g, ""), "hex"));
}

const kind: Name = ["_marcoboot", "_tcp", "local"];
const instance: Name = ["rack server", ...kind];

// RFC 6762 §5.4: a one-shot question with the unicast bit; RFC 1035 §4.1.2.
const question = hex(
  `0000 0000 0001 0000 0000 0000
   0a 5f6d6172636f626f6f74 04 5f746370 05 6c6f63616c 00 000c 8001`,
);

test("a question is read, and written octet by octet as RFC 1035 draws it", (t) => {
  const asked = { name: kind, type: "PTR", wantsUnicast: true } as const;
  t.deepEqual(decodeDns(question)?.questions, [asked]);
  t.deepEqual(encodeDns({ isResponse: false, questions: [asked] }), question);
});

test("a name that points to an earlier one is put together", (t) => {
  // PTR of the name at 12, whose data are "rack server" and a pointer to 12.
  const message = hex(
    `0000 8400 0000 0001 0000 0000
     0a 5f6d6172636f626f6f74 04 5f746370 05 6c6f63616c 00 000c 0001 00001194 000e
     0b 7261636b20736572766572 c00c`,
  );
  const pointer = {
    name: kind,
    type: "PTR",
    target: instance,
    ttl: 4500,
    isUnique: false,
  } as const;
  t.deepEqual(decodeDns(message)?.answers, [pointer]);
});

const records: readonly DnsRecord[] = [
  { name: kind, type: "PTR", target: instance, ttl: 4500, isUnique: false },
  {
    name: instance,
    type: "SRV",
    port: 8443,
    target: ["server", "local"],
    ttl: 120,
    isUnique: true,
  },
  { name: instance, type: "TXT", texts: ["key=0123", "empty="], ttl: 4500, isUnique: true },
  { name: ["server", "local"], type: "A", address: "10.77.0.1", ttl: 120, isUnique: true },
  {
    name: ["server", "local"],
    type: "AAAA",
    address: "fe80:0:0:0:5054:ff:fed1:1",
    ttl: 120,
    isUnique: true,
  },
];

test("records of all five types come back as they were", (t) => {
  const message = encodeDns({
    id: 7,
    isResponse: true,
    answers: records.slice(0, 2),
    authorities: records.slice(2, 3),
    additionals: records.slice(3),
  });
  t.deepEqual(decodeDns(message), {
    id: 7,
    isResponse: true,
    questions: [],
    answers: records.slice(0, 2),
    authorities: records.slice(2, 3),
    additionals: records.slice(3),
  });
});

test("an IPv6 address is written short as well as long", (t) => {
  const [record] = records.slice(4);
  const short = { ...record, address: "fe80::5054:ff:fed1:1" } as DnsRecord;
  t.deepEqual(decodeDns(encodeDns({ isResponse: true, answers: [short] }))?.answers, [record]);
});

test("records of types we do not know are skipped, those behind them read", (t) => {
  const [host] = records.slice(3);
  const bytes = encodeDns({ isResponse: true, answers: [host as DnsRecord, host as DnsRecord] });
  bytes[12 + 14 + 1] = 47; // NSEC in place of the first A
  t.deepEqual(decodeDns(bytes)?.answers, [host]);
});

const wrong = [
  ["half a header", "0000 0000 0001"],
  ["a name without an end", "0000 0000 0001 0000 0000 0000 03 6162"],
  ["a pointer to itself", "0000 0000 0001 0000 0000 0000 c00c 000c 0001"],
  ["a pointer forward", "0000 0000 0001 0000 0000 0000 c0ff 000c 0001"],
  ["a label of 64 octets", `0000 0000 0001 0000 0000 0000 40 ${"61".repeat(64)} 00 000c 0001`],
  ["an opcode of its own", "0000 2800 0000 0000 0000 0000"],
  ["sixty thousand questions", "0000 0000 ea60 0000 0000 0000"],
  ["data that run past the end", "0000 8400 0000 0001 0000 0000 00 0001 0001 00000078 0004 0a4d"],
] as const;
for (const [title, text] of wrong) {
  test(`${title} is no message`, (t) => t.is(decodeDns(hex(text)), undefined));
}

testProp("any octets are read or refused, never thrown at", [fc.uint8Array()], (t, octets) => {
  t.notThrows(() => decodeDns(octets));
});

testProp(
  "a damaged message is read or refused, never thrown at",
  [fc.nat(), fc.nat({ max: 255 })],
  (t, at, octet) => {
    const bytes = encodeDns({ isResponse: true, answers: records });
    bytes[at % bytes.length] = octet;
    t.notThrows(() => decodeDns(bytes));
  },
);
