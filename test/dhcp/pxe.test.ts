import test from "ava";
import { option, readOption } from "../../server/dhcp/codec/options.ts";
import { parseMachine, parseVendorClass } from "../../server/dhcp/codec/pxe.ts";
import { hex } from "../support/vectors.ts";

// The forms of RFC 4578 §2.1 and of UEFI 2.10 §24.7, and what comes near them.
const vendorClasses: readonly (readonly [string, ReturnType<typeof parseVendorClass>])[] = [
  ["PXEClient", { kind: "PXEClient" }],
  ["PXEClient:Arch:00007:UNDI:003010", { kind: "PXEClient", architecture: 7 }],
  ["HTTPClient:Arch:00019:UNDI:003000", { kind: "HTTPClient", architecture: 19 }],
  ["HTTPClient:Arch:00016", { kind: "HTTPClient", architecture: 16 }],
  ["PXEClient:", { kind: "PXEClient" }],
  ["PXEClient:Arch:7:UNDI", { kind: "PXEClient" }],
  ["PXEClient:Arch:000070:UNDI", { kind: "PXEClient" }],
  ["PXEClient:Arch:0000x", { kind: "PXEClient" }],
  ["PXEClientele", undefined],
  ["pxeclient", undefined],
  ["udhcp 1.35.0", undefined],
  ["", undefined],
];
for (const [text, expected] of vendorClasses) {
  test(`option 60 ${JSON.stringify(text)}`, (t) => {
    t.deepEqual(parseVendorClass(text), expected);
  });
}

const codes = [
  ["52506934", "4"],
  ["34695052", "4"],
  ["52506935", "5"],
  ["39695052", "5"],
  ["52506933", undefined],
  ["33695052", undefined],
  ["52506952", undefined],
] as const;
for (const [fourCc, model] of codes) {
  test(`option 97 with ${fourCc} ${model ? `is a Raspberry Pi ${model}` : "is a UUID"}`, (t) => {
    const machine = parseMachine(hex(`00 ${fourCc} 1431d000 320136c2 d4c3b2a1`), false);
    t.is(machine?.kind === "raspberry-pi" ? machine.model : undefined, model);
  });
}

test("a text ends before its NULs at the end, and keeps the others", (t) => {
  const read = (text: string) => readOption(new Map([option("hostName", text)]), "hostName");
  t.is(read("node\0\0"), "node");
  t.is(read("a\0b\0"), "a\0b");
  t.is(read("\0"), "");
  t.is(read("\u00e9"), "\u00e9");
});
