import test from "ava";
import { firstFatPartition, readFirmwareConfig } from "../../scripts/lab/boot-rom.ts";
import { discoverMessage, readOffer } from "../../scripts/lab/boot-rom-pi3.ts";

const mac = "b8:27:eb:12:34:56";

test("the simulator's DISCOVER has what the mask ROM's has", (t) => {
  const message = discoverMessage(mac);
  t.is(message.readUInt32BE(4), 0x26f30339, "one xid for all boards");
  t.is(message.readUInt16BE(10), 0, "flags: the answer shall be unicast");
  t.true(message.includes("PXEClient:Arch:00000:UNDI:002001"));
  t.true(message.includes(Buffer.from([97, 17, 0, ...new Array<number>(16).fill(0x44)])));
});

const offer = (option43: string) => {
  const message = discoverMessage(mac);
  message[0] = 2;
  message.set([10, 77, 0, 11], 16);
  return Buffer.concat([
    message.subarray(0, 240),
    Buffer.from([53, 1, 2, 43, option43.length]),
    Buffer.from(option43),
    Buffer.from([255]),
  ]);
};

test("it takes an offer only with Raspberry Pi Boot in option 43, and fetches from the sender", (t) => {
  t.is(readOffer(offer("PXE"), mac, "10.77.0.1"), undefined);
  t.like(readOffer(offer("..Raspberry Pi Boot   "), mac, "10.77.0.9"), {
    address: "10.77.0.11",
    server: "10.77.0.9",
  });
  t.is(readOffer(offer("Raspberry Pi Boot"), "b8:27:eb:00:00:00", "10.77.0.1"), undefined);
});

test("config.txt: kernel, initramfs, sections", (t) => {
  const text =
    "kernel=other.img # one\n[pi4]\nkernel=pi4.img\n[all]\ninitramfs initrd.img followkernel\n";
  t.deepEqual(readFirmwareConfig(text), {
    kernel: "other.img",
    initramfs: "initrd.img",
    deviceTree: "bcm2710-rpi-3-b.dtb",
    commandLine: "cmdline.txt",
  });
});

test("the first FAT partition of an MBR is found, in octets", (t) => {
  const sector = Buffer.alloc(512);
  t.is(firstFatPartition(sector), undefined, "no signature");
  sector.writeUInt16LE(0xaa55, 510);
  sector[450] = 0x83;
  t.is(firstFatPartition(sector), undefined, "Linux only");
  sector[466] = 0x0c;
  sector.writeUInt32LE(2048, 470);
  t.is(firstFatPartition(sector), 1_048_576);
});
