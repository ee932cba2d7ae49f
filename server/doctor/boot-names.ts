/**
 * What a file that a node asked for is to its boot. Names come in the node's
 * own form: with a leading slash, in a directory of its serial, as a URL's path.
 */

/** In the order of a boot; a firmware leaves out what it does not need. */
export const fileStages = ["firmware", "loader", "script", "kernel", "initrd", "agent"] as const;
export type FileStage = (typeof fileStages)[number];

const stages: readonly (readonly [RegExp, FileStage])[] = [
  [/^agent\.squashfs$/, "agent"],
  [/^(?:initrd|initramfs|stage1)[\w.-]*$/, "initrd"],
  [/^(?:kernel[\w.-]*|vmlinuz[\w.-]*)$/, "kernel"],
  [/^(?:boot\.ipxe|autoexec\.ipxe|grub\.cfg[\w.:-]*)$/, "script"],
  [/\.(?:efi|kpxe|0)$/, "loader"],
  [/^(?:bootcode\.bin|start\w*\.elf|fixup\w*\.dat|config\.txt|cmdline\.txt)$/, "firmware"],
  [/\.(?:dtb|dtbo)$/, "firmware"],
];

/** Asked for by many firmwares whether or not they exist (boot order probes, updates, certificates). */
const probes =
  /^(?:bootsig\.bin|autoboot\.txt|recovery[\w-]*\.(?:elf|bin|img)|recover4\.elf|pieeprom\.\w+|vl805\.\w+|dt-blob\.bin|bootcfg\.txt|config\.txt\.sig|boot\.(?:img|sig)|armstub[\w-]*\.bin|kernel7l?\.img|kernel\.img|fixup\w*\.dat|overlay_map\.dtb|revocations\w*\.efi|shim_certificate\w*\.efi|[\w-]+\.lst|[\w-]+\.mod|favicon\.ico)$/;

export function baseName(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1).toLowerCase();
}

export function stageOfFile(name: string): FileStage | undefined {
  const base = baseName(name);
  return stages.find(([pattern]) => pattern.test(base))?.[1];
}

/** A file whose absence is no fault. */
export function isProbe(name: string): boolean {
  return probes.test(baseName(name));
}
