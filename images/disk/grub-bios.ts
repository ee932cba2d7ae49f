/**
 * GRUB's boot code for BIOS machines, written without grub-install.
 *
 * Pure: bytes in, bytes changed. `boot.img` is the 512-octet first stage,
 * `core.img` (grub-mkimage -O i386-pc) the second. Field offsets are those of
 * GRUB 2's boot.S and diskboot.S:
 *
 *   boot.img   0x05c  u64  first sector of core.img
 *              0x066  u16  jump of the drive check; two NOPs trust the BIOS's drive number never,
 *                          as grub-bios-setup does for hard disks
 *   core.img   0x1f4  u64  sector after its own first one
 */

/** Octets of the first sector that belong to code; the partition table follows at 446. */
const bootCodeOctets = 440;
const coreSectorField = 0x5c;
const driveCheckField = 0x66;
const blocklistField = 0x1f4;
const twoNops = 0x9090;

/**
 * Puts boot code into the head of a disk.
 *
 * @param head - the disk's first octets, at least up to the end of `core` at `coreSector`
 * @param coreSector - first sector (512 octets) of the place for core.img: 1 in the gap
 *   of an MBR disk, the start of the bios_grub partition on a GPT disk
 * @throws RangeError if `boot` is not one sector or `core` does not fit
 */
export function installGrubBios(
  head: Uint8Array,
  boot: Uint8Array,
  core: Uint8Array,
  coreSector: number,
): void {
  if (boot.length !== 512) throw new RangeError(`boot.img has ${boot.length} octets, not 512`);
  const start = coreSector * 512;
  if (start + core.length > head.length) {
    throw new RangeError(`core.img (${core.length} octets) does not fit at sector ${coreSector}`);
  }
  head.set(boot.subarray(0, bootCodeOctets), 0);
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  view.setBigUint64(coreSectorField, BigInt(coreSector), true);
  view.setUint16(driveCheckField, twoNops, true);
  view.setUint16(510, 0xaa55, true);
  head.set(core, start);
  view.setBigUint64(start + blocklistField, BigInt(coreSector + 1), true);
}
