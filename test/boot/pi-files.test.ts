import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { parseMacAddress } from "#protocol/brand.ts";
import { client, laboratory, node, pc, pi3, pi4, server, token } from "./setup.ts";

/** What the ROM and bootcode.bin of a Pi 3 ask for, boot-facts §10 (firmware#935); `-`: not found. */
const pi3Sequence = [
  "bootcode.bin",
  "-bootsig.bin",
  "start.elf",
  "-autoboot.txt",
  "config.txt",
  "-recovery.elf",
  "fixup.dat",
  "-dt-blob.bin",
  "-bootcfg.txt",
  "cmdline.txt",
  "bcm2710-rpi-3-b.dtb",
  "overlays/disable-bt.dtbo",
  "-overlays/none.dtbo",
  "kernel8.img",
  "initrd.img",
];
/** Of a Pi 4 with EEPROM (cmprovision#16). */
const pi4Sequence = [
  "start4.elf",
  "config.txt",
  "fixup4.dat",
  "cmdline.txt",
  "bcm2711-rpi-4-b.dtb",
  "kernel8.img",
  "initrd.img",
  "-recovery8.img",
  "-recovery8-32.img",
  "-recovery7l.img",
  "-pieeprom.sig",
  "-pieeprom.upd",
  "-vl805.sig",
  "-recover4.elf",
  "-boot.img",
  "-boot.sig",
];
/** A Pi 5 has its start.elf in the EEPROM (rpi-eeprom#687). */
const pi5Sequence = [
  "config.txt",
  "cmdline.txt",
  "kernel8.img",
  "initrd.img",
  "-kernel_2712.img",
  "-bcm2712-rpi-5-b.dtb",
  "-pieeprom.upd",
];
const boards = [
  [pi3, "raspberry-pi-3", undefined, pi3Sequence, ["", "57bee26d/", "b8-27-eb-be-e2-6d/"]],
  [pi4, "raspberry-pi-4", "9a4f01c2", pi4Sequence, ["", "9a4f01c2/", "dc-a6-32-01-36-c2/"]],
  [pi4, "raspberry-pi-5", "9a4f01c2", pi5Sequence, ["", "9a4f01c2/", "dc-a6-32-01-36-c2/"]],
] as const;
for (const [mac, firmware, serial, sequence, prefixes] of boards) {
  for (const prefix of prefixes) {
    test(`${firmware} finds its tree under "${prefix}" and nothing else`, (t) => {
      const { boot, tftp } = laboratory(t);
      boot.reply(client(mac, { firmware, ...(serial && { serial }) }), server);
      const found = sequence.filter((name) => tftp(prefix + name.replace(/^-/, ""), mac));
      t.deepEqual(
        found,
        sequence.filter((name) => !name.startsWith("-")),
      );
    });
  }
}

const foreign = [
  ["another board's serial", pi4, "11111111/start4.elf"],
  ["another board's MAC address", pi4, "b8-27-eb-be-e2-6d/start4.elf"],
  ["a serial a Pi 3 with this MAC address cannot have", pi3, "57bee26e/start.elf"],
  ["a path upwards", pi4, "../raspberry-pi/start4.elf"],
  ["a path upwards behind a prefix", pi4, "9a4f01c2/../bootcode.bin"],
  ["a path out of the overlays", pi4, "overlays/../start4.elf"],
  ["a file of no firmware", pi4, "LICENCE"],
  ["two prefixes", pi4, "9a4f01c2/9a4f01c2/start4.elf"],
] as const;
for (const [title, mac, name] of foreign) {
  test(`${title} does not exist`, (t) => {
    const { boot, tftp } = laboratory(t);
    boot.reply(client(pi3, { firmware: "raspberry-pi-3" }), server);
    boot.reply(client(pi4, { firmware: "raspberry-pi-4", serial: "9a4f01c2" }), server);
    t.is(tftp(name, mac), undefined);
  });
}

test("a node that is no Raspberry Pi has no such tree", (t) => {
  const { boot, tftp } = laboratory(t);
  boot.reply(client(pc, { firmware: "bios-pxe" }), server);
  t.is(tftp("bootcode.bin", pc), undefined);
  t.is(tftp("config.txt", parseMacAddress("52:54:00:00:00:99")), undefined);
});

test("config.txt starts the arm64 kernel with the initrd behind it", (t) => {
  const { boot, tftp } = laboratory(t);
  boot.reply(client(pi3, { firmware: "raspberry-pi-3" }), server);
  t.is(
    tftp("config.txt", pi3),
    [
      "# made by marcoboot for this node",
      "arm_64bit=1",
      "kernel=kernel8.img",
      "initramfs initrd.img followkernel",
      "enable_uart=1",
      "",
    ].join("\n"),
  );
});

test("cmdline.txt is one line, with the token only while the window is open", (t) => {
  const { boot, tftp, windows } = laboratory(t);
  boot.reply(client(pi3, { firmware: "raspberry-pi-3" }), server);
  const line = (enrol: string) =>
    `marcoboot.url=http://10.77.0.1:8080 marcoboot.mac=b8:27:eb:be:e2:6d ${enrol}rootfstype=ramfs panic=30 console=serial0,115200 console=tty1\n`;
  t.is(tftp("cmdline.txt", pi3), line(""));
  windows.set(pi3, token);
  t.is(tftp("cmdline.txt", pi3), line(`marcoboot.enrol=${token} `));
});

test("an installed Pi finds nothing, so that it boots its own disk", (t) => {
  const { boot, tftp, nodes } = laboratory(t);
  boot.reply(client(pi3, { firmware: "raspberry-pi-3" }), server);
  nodes.set(pi3, node(pi3, { state: "installed" }));
  const names = pi3Sequence.map((name) => name.replace(/^-/, ""));
  t.deepEqual(
    names.filter((name) => tftp(name, pi3) !== undefined),
    [],
  );
});

test("after a restart of the server the journal tells that it is a Pi, and its serial", (t) => {
  const { tftp, nodes } = laboratory(t);
  nodes.set(pi4, node(pi4, { firmware: "raspberry-pi-4", serial: "100000009A4F01C2" }));
  t.is(tftp("9a4f01c2/start4.elf", pi4), "start4.elf");
  t.is(tftp("9a4f01c3/start4.elf", pi4), undefined);
});

test("a file its block counter cannot reach is not served to a Pi", (t) => {
  const { boot, tftp, directory } = laboratory(t);
  boot.reply(client(pi4, { firmware: "raspberry-pi-4" }), server);
  const kernel = join(directory, "netinst", "arm64", "kernel");
  writeFileSync(kernel, "");
  truncateSync(kernel, 65535 * 1024);
  t.is(tftp("kernel8.img", pi4), undefined);
  truncateSync(kernel, 65535 * 1024 - 1);
  t.is(tftp("kernel8.img", pi4)?.length, 65535 * 1024 - 1);
});
