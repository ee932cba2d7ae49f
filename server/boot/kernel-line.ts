/**
 * The kernel line of netinst, as a list of checked words.
 *
 * The words end up in an iPXE script or in cmdline.txt, where a space, a quote
 * or a dollar sign would be read as more than a word: each is checked here, the
 * only place that makes one.
 */

import type { Branded, MacAddress } from "#protocol/brand.ts";
import { architectureOf, type FirmwareName } from "#protocol/firmware.ts";
import { InvalidInputError } from "../errors.ts";

/** `[A-Za-z0-9_.,:=/@+-]+`: no white space, no quote, nothing a script language reads. */
export type KernelWord = Branded<string, "KernelWord">;

const wordPattern = /^[A-Za-z0-9_.,:=/@+-]+$/;
/** arm64's limit is 2048, x86's too (COMMAND_LINE_SIZE in the kernel), with the final zero. */
const maxLineLength = 2047;

/** @throws InvalidInputError naming the text */
export function kernelWord(text: string): KernelWord {
  if (!wordPattern.test(text)) {
    throw new InvalidInputError(`not a word of a kernel line: ${JSON.stringify(text)}`);
  }
  return text as KernelWord;
}

export interface KernelLineRequest {
  /** Of the boot listener the node can reach, no slash at the end. */
  readonly url: string;
  readonly mac: MacAddress;
  /** Only while the enrolment window is open. */
  readonly token?: string;
  readonly firmware: FirmwareName;
  /** From the configuration. */
  readonly extra: readonly string[];
}

/** @throws InvalidInputError if a value is no word, or the line too long for the kernel */
export function netinstKernelLine(request: KernelLineRequest): readonly KernelWord[] {
  const words = [
    `marcoboot.url=${request.url}`,
    `marcoboot.mac=${request.mac}`,
    ...(request.token === undefined ? [] : [`marcoboot.enrol=${request.token}`]),
    "rootfstype=ramfs", // a tmpfs root is half the memory, and 256 MB must do
    "panic=30", // a kernel that does not come as far as its first program restarts too
    ...consolesOf(request.firmware),
    ...request.extra,
  ].map(kernelWord);
  const length = words.join(" ").length;
  if (length > maxLineLength) {
    throw new InvalidInputError(`kernel line of ${length} characters is longer than 2047`);
  }
  return words;
}

/** The last one is /dev/console. The Pi's own firmware replaces `serial0` by the port's name. */
function consolesOf(firmware: FirmwareName): readonly string[] {
  if (firmware.startsWith("raspberry-pi")) return ["console=serial0,115200", "console=tty1"];
  if (architectureOf(firmware) === "arm64") return ["console=ttyAMA0,115200"];
  return ["console=tty0", "console=ttyS0,115200"];
}
