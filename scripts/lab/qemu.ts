/**
 * QEMU command lines of the virtual rack's nodes, one per firmware.
 *
 * Every node tries the network first and its disk second, always: that it boots
 * its own disk after an install is the server's doing, not a boot order's.
 *
 *   bios            pc,   SeaBIOS + iPXE's option ROM (Debian: ipxe-qemu)
 *   uefi-x64        q35,  OVMF's own PXE or HTTP boot (no option ROM)
 *   uefi-x64-secure the same with Secure Boot on and Microsoft's keys enrolled, as a PC is sold
 *   uefi-arm64      virt, AAVMF's own PXE or HTTP boot
 *   raspberry-pi-3  raspi3b, started by the boot ROM simulator with what it fetched
 */

import type { Architecture } from "#protocol/firmware.ts";
import type { Accelerator } from "./kvm.ts";

export const guestFirmwares = [
  "bios",
  "uefi-x64",
  "uefi-x64-secure",
  "uefi-arm64",
  "raspberry-pi-3",
] as const;
export type GuestFirmware = (typeof guestFirmwares)[number];

export interface Guest {
  /** Outlet and tap, `a1`. */
  readonly name: string;
  readonly firmware: GuestFirmware;
  readonly mac: string;
  readonly memoryMiB: number;
  /** Sparse raw file. */
  readonly disk: string;
  /** Every write to the disk is logged there (write-log.ts); not with a Raspberry Pi. */
  readonly writeLog?: string;
  /** How a UEFI firmware boots from the network; default `pxe`. */
  readonly networkBoot?: "pxe" | "http";
  /** Writable copy of the firmware's variables; UEFI only. */
  readonly variables?: string;
}

/** What a Pi's boot ROM and start.elf hand to the processor. */
export interface LoadedKernel {
  readonly kernel: string;
  readonly deviceTree: string;
  readonly initramfs?: string;
  readonly commandLine: string;
}

/** Templates of the UEFI variable store, copied for each node; undefined: no UEFI. */
export const variableTemplates: Readonly<Record<GuestFirmware, string | undefined>> = {
  bios: undefined,
  "uefi-x64": "/usr/share/OVMF/OVMF_VARS_4M.fd",
  "uefi-x64-secure": "/usr/share/OVMF/OVMF_VARS_4M.ms.fd",
  "uefi-arm64": "/usr/share/AAVMF/AAVMF_VARS.fd",
  "raspberry-pi-3": undefined,
};

export function guestArchitecture(firmware: GuestFirmware): Architecture {
  return firmware === "uefi-arm64" || firmware === "raspberry-pi-3" ? "arm64" : "amd64";
}

/**
 * The QEMU program and its arguments. Serial console on standard output, QMP on
 * the unix socket `qmp`, where we listen and QEMU calls.
 *
 * @throws RangeError for a Raspberry Pi without `loaded`.
 */
export function qemuCommand(
  guest: Guest,
  accelerator: Accelerator,
  qmp: string,
  loaded?: LoadedKernel,
): [string, string[]] {
  const common = [
    ...["-name", guest.name, "-nodefaults", "-display", "none", "-m", String(guest.memoryMiB)],
    ...["-chardev", "stdio,id=console,signal=off", "-qmp", `unix:${qmp}`],
    ...["-netdev", `tap,id=net,ifname=${guest.name},script=no,downscript=no`],
  ];
  // Losing the host is not what these disks are tested against; ending QEMU keeps what it wrote.
  const disk = `file=${guest.disk},format=raw,cache=unsafe,discard=unmap,detect-zeroes=unmap`;
  const devices = (optionRom: string) => [
    ...["-device", `virtio-net-pci,netdev=net,mac=${guest.mac},bootindex=0${optionRom}`],
    ...(guest.writeLog === undefined
      ? ["-drive", `if=none,id=disk,${disk}`]
      : ["-blockdev", loggedDisk(guest.disk, guest.writeLog)]),
    ...["-device", `virtio-blk-pci,drive=disk,bootindex=1,serial=${guest.name}`],
    ...["-device", "virtio-rng-pci", "-serial", "chardev:console"],
  ];
  switch (guest.firmware) {
    case "bios":
      return [
        "qemu-system-x86_64",
        [
          ...["-M", "pc", ...x86Cpu(accelerator), ...common],
          // The default ROM: QEMU writes the card's PCI ids into it, which it does not for a named file.
          ...devices(""),
        ],
      ];
    case "uefi-x64":
      return [
        "qemu-system-x86_64",
        [
          ...["-M", "q35", ...x86Cpu(accelerator), ...common, ...devices(",romfile=")],
          ...flash("/usr/share/OVMF/OVMF_CODE_4M.fd", guest),
        ],
      ];
    case "uefi-x64-secure":
      return [
        "qemu-system-x86_64",
        [
          // Only code in system management mode may write the variables: else an OS could change the keys.
          ...["-M", "q35,smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on"],
          ...["-global", "ICH9-LPC.disable_s3=1"],
          ...[...x86Cpu(accelerator), ...common, ...devices(",romfile=")],
          ...flash("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", guest),
        ],
      ];
    case "uefi-arm64":
      return [
        "qemu-system-aarch64",
        [
          ...[
            "-M",
            "virt",
            "-cpu",
            "cortex-a57",
            "-accel",
            "tcg",
            ...common,
            ...devices(",romfile="),
          ],
          ...flash("/usr/share/AAVMF/AAVMF_CODE.fd", guest),
        ],
      ];
    case "raspberry-pi-3":
      return ["qemu-system-aarch64", [...common, ...raspberryPi(guest, disk, loaded)]];
  }
}

export function loggedDisk(disk: string, log: string): string {
  return [
    ...["driver=blklogwrites", "node-name=disk", "log-sector-size=512"],
    ...["file.driver=file", `file.filename=${disk}`, "file.cache.no-flush=on"],
    ...["log.driver=file", `log.filename=${log}`, "log.cache.no-flush=on"],
  ].join(",");
}

/**
 * Everything QEMU can emulate but what it emulates slowly: with ERMS kernels and C libraries copy
 * octet by octet, and AVX's registers are carried along at every switch between programs. Without
 * both a guest takes a quarter less processor time.
 */
const emulatedCpu = "max,-erms,-avx2,-avx";

function x86Cpu(accelerator: Accelerator): string[] {
  if (accelerator === "kvm") return ["-accel", "kvm", "-cpu", "host"];
  return ["-accel", "tcg", "-cpu", emulatedCpu];
}

function flash(code: string, guest: Guest): string[] {
  return [
    ...["-drive", `if=pflash,unit=0,format=raw,readonly=on,file=${code}`],
    ...["-drive", `if=pflash,unit=1,format=raw,file=${guest.variables ?? ""}`],
    // IPv6 PXE off, as a rack's set-up screen would have it: nothing answers there, and it costs a minute.
    ...["-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"],
    ...(guest.networkBoot === "http"
      ? ["-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n"]
      : []),
  ];
}

function raspberryPi(guest: Guest, disk: string, loaded: LoadedKernel | undefined): string[] {
  if (!loaded)
    throw new RangeError(`${guest.name}: a Raspberry Pi starts with what its ROM loaded`);
  return [
    ...["-M", "raspi3b", "-accel", "tcg"],
    // UART 0 goes to the Bluetooth chip; the console is UART 1, the second serial port.
    ...["-serial", "null", "-serial", "chardev:console"],
    ...["-kernel", loaded.kernel, "-dtb", loaded.deviceTree],
    ...(loaded.initramfs ? ["-initrd", loaded.initramfs] : []),
    ...["-append", loaded.commandLine],
    ...["-drive", `if=sd,${disk}`],
    ...["-device", `usb-net,netdev=net,mac=${guest.mac}`],
    "-no-reboot", // a reset ends QEMU: the ROM simulator then runs again
  ];
}
