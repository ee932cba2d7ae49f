/** What a node runs first. The list is closed; `server/boot/firmware/` has one file per family. */

export const firmwareNames = [
  "raspberry-pi-3",
  "raspberry-pi-4",
  "raspberry-pi-5",
  "bios-pxe",
  "uefi-pxe-x64",
  "uefi-pxe-arm64",
  "uefi-http-x64",
  "uefi-http-arm64",
  "ipxe-bios",
  "ipxe-x64",
  "ipxe-arm64",
] as const;

export type FirmwareName = (typeof firmwareNames)[number];

/** Debian's architecture names. */
export type Architecture = "amd64" | "arm64";

export function architectureOf(firmware: FirmwareName): Architecture {
  switch (firmware) {
    case "bios-pxe":
    case "uefi-pxe-x64":
    case "uefi-http-x64":
    case "ipxe-bios":
    case "ipxe-x64":
      return "amd64";
    case "raspberry-pi-3":
    case "raspberry-pi-4":
    case "raspberry-pi-5":
    case "uefi-pxe-arm64":
    case "uefi-http-arm64":
    case "ipxe-arm64":
      return "arm64";
  }
}
