import test from "ava";
import { installGrubBios } from "../../images/disk/grub-bios.ts";

const boot = new Uint8Array(512).fill(0xb0);
const core = new Uint8Array(1024).fill(0xc0);
const head = () => new Uint8Array(64 * 512).fill(0xee);

test("the partition table between octets 446 and 510 is left alone", (t) => {
  const disk = head();
  installGrubBios(disk, boot, core, 34);
  t.deepEqual(disk.subarray(446, 510), new Uint8Array(64).fill(0xee));
  t.is(disk[439], 0xb0);
  t.deepEqual([...disk.subarray(510, 512)], [0x55, 0xaa]);
});

// GRUB 2, boot.S: GRUB_BOOT_MACHINE_KERNEL_SECTOR 0x5c; diskboot.S: blocklist at the end of its sector.
test("boot.img is told where core.img begins, core.img where its rest does", (t) => {
  const disk = head();
  installGrubBios(disk, boot, core, 34);
  const view = new DataView(disk.buffer);
  t.is(view.getBigUint64(0x5c, true), 34n);
  t.is(view.getBigUint64(34 * 512 + 0x1f4, true), 35n);
  t.is(view.getUint16(0x66, true), 0x9090);
});

test("a first stage that is not one sector is refused", (t) => {
  t.throws(() => installGrubBios(head(), boot.subarray(1), core, 34), { message: /511 octets/ });
});

test("a second stage that does not fit is refused", (t) => {
  t.throws(() => installGrubBios(head(), boot, core, 63), { message: /does not fit at sector 63/ });
});
