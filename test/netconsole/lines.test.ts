import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import { milliseconds } from "#protocol/brand.ts";
import { createLineAssembler } from "../../server/netconsole/lines.ts";

const at = milliseconds;
const bytes = (text: string) => Buffer.from(text, "latin1");

function linesOf(...datagrams: readonly string[]): readonly string[] {
  const assembler = createLineAssembler(4);
  return datagrams.flatMap((text) => assembler.take("10.77.0.11", bytes(text), at(0)));
}

const table = [
  [
    "a boot ROM's lines come in pieces of any size",
    ["Net boot\r\nDHCP src", ": dc:a6:32 ", "10.77.0.1\r\n"],
    ["Net boot", "DHCP src: dc:a6:32 10.77.0.1"],
  ],
  [
    "a record of Linux loses its level",
    ["<6>[    1.2] usb 1-1: new\n"],
    ["[    1.2] usb 1-1: new"],
  ],
  [
    "an extended record loses its header and its dictionary",
    ["6,416,1758426,-;pci 0000:00: up\n SUBSYSTEM=pci\n DEVICE=+pci:0\n"],
    ["pci 0000:00: up"],
  ],
  [
    // Documentation/networking/netconsole.rst, "a message split into two chunks"
    "fragments of an extended record become one line",
    [
      "6,416,1758426,-,ncfrag=0/33;the first chunk,",
      "6,416,1758426,-,ncfrag=16/33; the 2nd chunk.\n",
    ],
    ["the first chunk, the 2nd chunk."],
  ],
  ["what could move a cursor becomes a space", ["a\u001b[2Jb\tc\u0000d\n"], ["a [2Jb c d"]],
  ["empty lines are left out", ["a\n\nb\n"], ["a", "b"]],
] as const;
for (const [title, datagrams, lines] of table) {
  test(title, (t) => t.deepEqual(linesOf(...datagrams), [...lines]));
}

test("a line longer than 500 characters is told in pieces, without waiting for its end", (t) => {
  t.deepEqual(
    linesOf("x".repeat(1201)).map((line) => line.length),
    [500, 500, 201],
  );
});

test("a line that never ends is told after two seconds", (t) => {
  const assembler = createLineAssembler(4);
  assembler.take("a", bytes("login: "), at(0));
  assembler.take("b", bytes("later"), at(1500));
  t.deepEqual(assembler.overdue(at(1999)), []);
  t.deepEqual(assembler.overdue(at(2000)), [["a", "login:"]]);
  t.deepEqual(assembler.overdue(at(9999)), [["b", "later"]]);
});

test("senders do not mix, and the oldest unfinished line goes when there are too many", (t) => {
  const assembler = createLineAssembler(2);
  for (const sender of ["a", "b", "c"]) assembler.take(sender, bytes(`from ${sender}`), at(0));
  t.deepEqual(assembler.take("b", bytes(" end\n"), at(1)), ["from b end"]);
  t.deepEqual(assembler.take("a", bytes(" end\n"), at(1)), [" end"]);
});

testProp(
  "any bytes give printable lines of bounded length",
  [fc.array(fc.uint8Array({ maxLength: 1500 }), { maxLength: 20 })],
  (t, datagrams) => {
    const assembler = createLineAssembler(4);
    const lines = [
      ...datagrams.flatMap((datagram) => assembler.take("a", datagram, at(0))),
      ...assembler.overdue(at(5000)).map(([, line]) => line),
    ];
    t.true(lines.every((line) => /^[\x20-\x7e]{1,500}$/.test(line)));
  },
);
