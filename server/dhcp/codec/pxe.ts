/**
 * What a PXE or HTTP boot client says about itself: options 60, 93, 94 and 97 (RFC 4578).
 *
 *   option 97, EDK2, iPXE, BIOS      00 | UUID, first three fields little-endian (16)
 *   option 97, Raspberry Pi 4 and 5  00 | FourCC (4) | revision (4) | low 4 of MAC | serial (4)
 *   option 97, Raspberry Pi 3B+      00 | serial (4), four times
 *   option 97, Raspberry Pi 2 and 3  00 | 0x44, sixteen times
 */

/** Client system architecture types (IANA; RFC 4578 §2.1) this server has a boot file for. */
export const architecture = {
  bios: 0,
  efiX64: 7,
  /** Meant for EBC; some x64 firmware sends it. */
  efiByteCode: 9,
  efiArm64: 11,
  efiHttpX64: 16,
  efiHttpArm64: 19,
  rpiBoot: 41,
} as const;

export interface VendorClass {
  readonly kind: "PXEClient" | "HTTPClient";
  /** From `Arch:00007`. */
  readonly architecture?: number;
}

/** `undefined` when option 60 is no boot client's: `udhcp 1.35`, `MSFT 5.0`. */
export function parseVendorClass(text: string): VendorClass | undefined {
  const kind = vendorKinds.find((one) => text.startsWith(one));
  const rest = kind && text.slice(kind.length);
  if (!kind || (rest && !rest.startsWith(":"))) return undefined;
  const arch = rest?.startsWith(":Arch:") ? rest.slice(6, 11) : "";
  const isWhole = arch.length === 5 && isDecimal(arch) && (rest?.[11] ?? ":") === ":";
  return isWhole ? { kind, architecture: Number(arch) } : { kind };
}

const vendorKinds = ["PXEClient", "HTTPClient"] as const;

/** No pattern: this is asked of every message, and one that nobody used for a while is slow. */
function isDecimal(text: string): boolean {
  for (const character of text) if (character < "0" || character > "9") return false;
  return true;
}

/** What option 97 holds; `undefined` for a form nobody is known to send, or all zeros. */
export type Machine =
  | { readonly kind: "uuid"; readonly uuid: string }
  | { readonly kind: "raspberry-pi"; readonly model: "4" | "5"; readonly serial: string }
  | { readonly kind: "raspberry-pi-rom"; readonly serial?: string };

/**
 * Reads the value of option 97.
 *
 * A UUID whose four words are equal is taken for a Raspberry Pi 3B+ only if
 * `isBios`: option 93 says 0.
 */
export function parseMachine(value: Uint8Array, isBios: boolean): Machine | undefined {
  const id = value.subarray(1);
  if (value[0] !== 0 || id.length !== 16 || id.every((octet) => octet === 0)) return undefined;
  const pi = raspberryPi(id);
  if (pi) return pi;
  if (id.every((octet) => octet === 0x44)) return { kind: "raspberry-pi-rom" };
  const word = id.subarray(0, 4).toHex();
  if (isBios && id.toHex() === word.repeat(4)) return { kind: "raspberry-pi-rom", serial: word };
  return { kind: "uuid", uuid: mixedEndianUuid(id) };
}

/** The FourCC is "RPi4" or "4iPR": the order of its octets is the order of the serial's too. */
function raspberryPi(id: Uint8Array): Machine | undefined {
  const fourCc = String.fromCharCode(...id.subarray(0, 4));
  const isTurned = fourCc.startsWith("RPi");
  const digit = isTurned ? fourCc.slice(3) : fourCc.slice(0, 1);
  if (!isTurned && !fourCc.endsWith("iPR")) return undefined;
  if (digit < "4" || digit > "9") return undefined;
  const word = id.slice(12, 16);
  return {
    kind: "raspberry-pi",
    model: digit === "4" ? "4" : "5",
    serial: (isTurned ? word.reverse() : word).toHex(),
  };
}

/** SMBIOS order: time-low, time-mid and time-high are little-endian, the rest as written. */
function mixedEndianUuid(id: Uint8Array): string {
  const field = (from: number, to: number) => id.slice(from, to);
  return [
    field(0, 4).reverse(),
    field(4, 6).reverse(),
    field(6, 8).reverse(),
    field(8, 10),
    field(10, 16),
  ]
    .map((bytes) => bytes.toHex())
    .join("-");
}
