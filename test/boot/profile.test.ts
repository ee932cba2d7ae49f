import test from "ava";
import type { FirmwareName } from "#protocol/firmware.ts";
import { firmwareNames } from "#protocol/firmware.ts";
import { firmwareFamilies } from "../../server/boot/firmware/registry.ts";
import { loaderNames } from "../../server/boot/loaders.ts";
import type { BootReply } from "../../server/boot/reply.ts";
import { hex } from "../support/vectors.ts";
import { client, laboratory, pc, pi4, server } from "./setup.ts";

// boot-facts §1: the padded form, 35 octets.
const piOption = hex(
  `060103 0a0400505845 0917000014 ${Buffer.from("Raspberry Pi Boot   ").toString("hex")} ff`,
);
const pi: BootReply = {
  nextServer: server.address,
  serverName: "10.77.0.1",
  vendorClass: "PXEClient",
  options: [[43, piOption]],
};
const script = "http://10.77.0.1:8080/boot/node/52-54-00-00-00-01/boot.ipxe";
const ipxe: BootReply = {
  bootFile: script,
  nextServer: server.address,
  options: [[175, hex("b00101")]], // boot-facts §5: no-pxedhcp
  awaitsIpv6Router: true,
};
const pxe = (bootFile: string): BootReply => ({
  bootFile,
  nextServer: server.address,
  options: [],
});
const http = (name: string): BootReply => ({
  bootFile: `http://10.77.0.1:8080/boot/loaders/${name}`,
  nextServer: server.address,
  vendorClass: "HTTPClient",
  options: [],
});

const replies: Record<FirmwareName, BootReply> = {
  "raspberry-pi-3": pi,
  "raspberry-pi-4": pi,
  "raspberry-pi-5": pi,
  "bios-pxe": {
    bootFile: "undionly.kpxe",
    nextServer: server.address,
    serverName: "10.77.0.1",
    vendorClass: "PXEClient",
    options: [[43, hex("060108 ff")]], // boot-facts §7: no boot server discovery
  },
  "uefi-pxe-x64": pxe("ipxe-x64.efi"),
  "uefi-pxe-arm64": pxe("ipxe-arm64.efi"),
  "uefi-http-x64": http("ipxe-x64.efi"),
  "uefi-http-arm64": http("ipxe-arm64.efi"),
  "ipxe-bios": ipxe,
  "ipxe-x64": ipxe,
  "ipxe-arm64": ipxe,
};
for (const firmware of firmwareNames) {
  test(`${firmware} gets its reply`, (t) => {
    const { boot } = laboratory(t);
    t.deepEqual(boot.reply(client(pc, { firmware }), server), replies[firmware]);
  });
}

// raspberrypi/firmware#934 and #859.
const delays = [
  ["a Raspberry Pi 3 is answered at once by the only server", "raspberry-pi-3", {}, {}, undefined],
  [
    "a Raspberry Pi 3 is answered 2 s late beside another server",
    "raspberry-pi-3",
    {},
    { proxy: true },
    2000,
  ],
  [
    "a Raspberry Pi 4 is answered at once beside another server",
    "raspberry-pi-4",
    {},
    { proxy: true },
    undefined,
  ],
  ["a configured delay holds for any firmware", "bios-pxe", { "bios-pxe": 0.5 }, {}, 500],
  [
    "a configured delay of 0 takes the firmware's own away",
    "raspberry-pi-3",
    { "raspberry-pi-3": 0 },
    { proxy: true },
    0,
  ],
] as const;
for (const [title, firmware, replyDelaySeconds, change, delay] of delays) {
  test(title, (t) => {
    const { boot } = laboratory(t, { replyDelaySeconds });
    const reply = boot.reply(client(pc, { firmware }), { ...server, ...change });
    t.is(reply?.delay === undefined ? undefined : Number(reply.delay), delay);
  });
}

test("the Raspberry Pi's option 43 has 35 octets", (t) => t.is(piOption.length, 35));

test("every firmware belongs to one family", (t) => {
  const names = firmwareFamilies.flatMap((family) => family.firmware);
  t.deepEqual([...names].sort(), [...firmwareNames].sort());
});

test("what is no boot client gets no boot reply", (t) => {
  const { boot } = laboratory(t);
  t.is(boot.reply(client(pc), server), undefined);
});

for (const name of loaderNames) {
  test(`${name} is there by TFTP, with and without a slash, and by HTTP`, (t) => {
    const { tftp, http: get } = laboratory(t);
    t.is(tftp(name, pc), name);
    t.is(tftp(`/${name}`, pc), name);
    t.is(get(`boot/loaders/${name}`, pc), name);
  });
}

const absent = [
  ["tftp", "autoexec.ipxe"],
  ["tftp", "grub/x86_64-efi/command.lst"],
  ["tftp", "revocations_sbat.efi"],
  ["tftp", "grub/node/52-54-00-00-00-01/grub.cfg"],
  ["tftp", "boot/netinst/amd64/netinst.json"],
  ["http", "grubx64.efi"],
  ["tftp", "../loaders/undionly.kpxe"],
  ["tftp", "raspberry-pi/bootcode.bin"],
  ["tftp", "boot/node/52-54-00-00-00-01/boot.ipxe"],
  ["http", "boot/loaders/../loaders/undionly.kpxe"],
  ["http", "boot/loaders/raspberry-pi/bootcode.bin"],
  ["http", "boot/loaders/"],
  ["http", "boot/netinst/amd64/netinst.json"],
  ["http", "boot/netinst/amd64/../arm64/kernel"],
  ["http", "boot/netinst/riscv64/kernel"],
  ["http", "boot/node/52:54:00:00:00:01/boot.ipxe"],
  ["http", ""],
] as const;
for (const [protocol, name] of absent) {
  test(`${protocol} ${JSON.stringify(name)} does not exist`, (t) => {
    t.is(laboratory(t)[protocol](name, pc), undefined);
  });
}

test("a loader that changes on disk is read again, one that goes is gone", async (t) => {
  const { writeFileSync, rmSync } = await import("node:fs");
  const { tftp, directory } = laboratory(t);
  t.is(tftp("undionly.kpxe", pi4), "undionly.kpxe");
  writeFileSync(`${directory}/loaders/undionly.kpxe`, "another build");
  t.is(tftp("undionly.kpxe", pi4), "another build");
  rmSync(`${directory}/loaders/undionly.kpxe`);
  t.is(tftp("undionly.kpxe", pi4), undefined);
});
