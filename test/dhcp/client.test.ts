import test from "ava";
import type { FirmwareName } from "#protocol/firmware.ts";
import { classify, isBootClient } from "../../server/dhcp/client.ts";
import { option } from "../../server/dhcp/codec/options.ts";
import type { DhcpPacket } from "../../server/dhcp/codec/packet.ts";
import { parseMachine } from "../../server/dhcp/codec/pxe.ts";
import { PacketError } from "../../server/errors.ts";
import { fixture, fixtures, message, pi3Discover, pi4Discover } from "../support/dhcp.ts";
import { hex } from "../support/vectors.ts";

const expected: Readonly<Record<string, FirmwareName | undefined>> = {
  "ipxe-rom-2019-bios": "ipxe-bios",
  "busybox-udhcpc": undefined,
  "aavmf-arm64-pxe": "uefi-pxe-arm64",
  "ovmf-x64-pxe": "uefi-pxe-x64",
  "ipxe-2025-efi-arm64": "ipxe-arm64",
  "ipxe-2025-efi-x64": "ipxe-x64",
  "aavmf-arm64-http": "uefi-http-arm64",
  "ovmf-x64-http": "uefi-http-x64",
  "systemd-networkd-252": undefined,
};
for (const { client, type } of fixtures) {
  test(`${client} ${type} (captured) is ${expected[client] ?? "no firmware"}`, (t) => {
    const found = classify(fixture(client, type));
    t.is(found.firmware, expected[client]);
    t.is(found.ipxe, client.startsWith("ipxe"));
    t.is(isBootClient(found), expected[client] !== undefined);
  });
}

const piClass = option("vendorClass", "PXEClient:Arch:00000:UNDI:002001");
const bios = option("clientArchitecture", [0]);
const machine = (text: string) => option("clientMachine", hex(text));
const pi = "b8:27:eb:34:56:78";

const table: readonly (readonly [
  title: string,
  packet: DhcpPacket,
  firmware: FirmwareName | undefined,
  serial: string | undefined,
])[] = [
  ["a Pi 3 by its xid and sixteen 44s", pi3Discover(), "raspberry-pi-3", undefined],
  [
    "the common xid alone",
    message("discover", { mac: pi, xid: 0x26f30339, options: [piClass, bios] }),
    "raspberry-pi-3",
    undefined,
  ],
  [
    "a Pi 3B+ by its serial four times, as its MAC address has it",
    message("discover", {
      mac: pi,
      options: [piClass, bios, machine(`00${"9a345678".repeat(4)}`)],
    }),
    "raspberry-pi-3",
    "9a345678",
  ],
  [
    "a Pi 3B+ with the serial least significant octet first",
    message("discover", {
      mac: pi,
      options: [piClass, bios, machine(`00${"7856349a".repeat(4)}`)],
    }),
    "raspberry-pi-3",
    "9a345678",
  ],
  ["a Pi 4, RPi4 and words turned", pi4Discover(), "raspberry-pi-4", "a1b2c3d4"],
  [
    "a Pi 4 with the FourCC turned",
    pi4Discover({ fourCc: "34695052", serial: "a1b2c3d4" }),
    "raspberry-pi-4",
    "a1b2c3d4",
  ],
  ["a Pi 5", pi4Discover({ fourCc: "52506935" }), "raspberry-pi-5", "a1b2c3d4"],
  ["a Pi 5, turned", pi4Discover({ fourCc: "35695052" }), "raspberry-pi-5", "d4c3b2a1"],
  [
    "an all-zero machine is no Pi 3B+",
    message("discover", { options: [piClass, bios, machine("00".repeat(17))] }),
    "bios-pxe",
    undefined,
  ],
  [
    "a BIOS ROM with a Raspberry Pi's vendor class but not its address",
    message("discover", { options: [piClass, bios] }),
    "bios-pxe",
    undefined,
  ],
  [
    "iPXE goes before the xid of a Pi 3",
    message("discover", {
      xid: 0x26f30339,
      options: [piClass, bios, option("userClass", hex("69505845"))],
    }),
    "ipxe-bios",
    undefined,
  ],
  [
    "iPXE by RFC 3004's form of the user class",
    message("discover", { options: [bios, option("userClass", hex("04 69505845"))] }),
    "ipxe-bios",
    undefined,
  ],
  [
    "iPXE by option 175 alone",
    message("discover", {
      options: [option("clientArchitecture", [7]), option("ipxe", hex("b10100"))],
    }),
    "ipxe-x64",
    undefined,
  ],
  [
    "the first known of several architectures",
    message("discover", { options: [piClass, option("clientArchitecture", [6, 9, 0])] }),
    "uefi-pxe-x64",
    undefined,
  ],
  [
    "an architecture in option 60 only",
    message("discover", { options: [option("vendorClass", "PXEClient:Arch:00011:UNDI:003000")] }),
    "uefi-pxe-arm64",
    undefined,
  ],
  [
    "firmware of a machine nobody serves",
    message("discover", { options: [option("vendorClass", "PXEClient:Arch:00027:UNDI:003000")] }),
    undefined,
    undefined,
  ],
  ["a message without option 60", message("request"), undefined, undefined],
];
for (const [title, packet, firmware, serial] of table) {
  test(`${title}: ${firmware ?? "no firmware"}`, (t) => {
    const found = classify(packet);
    t.is(found.firmware, firmware);
    t.is(found.serial, serial);
    t.is(found.byOui, undefined);
  });
}

test("a Raspberry Pi with an old EEPROM is known by its address, marked as a guess", (t) => {
  const packet = message("discover", { mac: "dc:a6:32:00:00:01", options: [piClass, bios] });
  t.like(classify(packet), { firmware: "raspberry-pi-4", byOui: true });
});

test("a board seen as a Raspberry Pi before stays one, whatever its address", (t) => {
  const packet = message("discover", { options: [piClass, bios] });
  const earlier = { xid: 1, client: { ...classify(packet), firmware: "raspberry-pi-5" } } as const;
  t.like(classify(packet, earlier), { firmware: "raspberry-pi-5", byOui: true });
});

test("a Pi's REQUEST without option 60 belongs to its DISCOVER, and the OS's does not", (t) => {
  const discover = pi4Discover({ xid: 7 });
  const earlier = { xid: 7, client: classify(discover) };
  const request = (xid: number) => message("request", { mac: "dc:a6:32:01:36:c2", xid });
  t.is(classify(request(7), earlier).firmware, "raspberry-pi-4");
  t.is(classify(request(8), earlier).firmware, undefined);
});

test("EDK2's UUID is read in mixed byte order", (t) => {
  const value = hex("00 44332211 6655 8877 99aa bbccddeeff00");
  t.deepEqual(parseMachine(value, false), {
    kind: "uuid",
    uuid: "11223344-5566-7788-99aa-bbccddeeff00",
  });
});

test("a machine id of another length or type is left alone", (t) => {
  t.is(parseMachine(hex("00 0102"), true), undefined);
  t.is(parseMachine(hex(`01 ${"22".repeat(16)}`), true), undefined);
});

test("a client that is not on Ethernet is refused with PacketError", (t) => {
  const packet = { ...message("discover"), hardwareType: 32, hardwareLength: 0 };
  t.throws(() => classify(packet), { instanceOf: PacketError });
});
