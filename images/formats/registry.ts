/** The formats an image can have. A new one is a file beside this, and a line here. */

import { type ImageFormat, imageFormats } from "#protocol/image.ts";
import { file } from "./file.ts";
import type { Format } from "./format.ts";
import { raw } from "./raw.ts";
import { rootfsTar } from "./rootfs-tar.ts";

export const formats: Readonly<Record<ImageFormat, Format>> = {
  raw,
  "rootfs-tar": rootfsTar,
  file,
};

/** Bytes of the beginning that {@link detectFormat} wants, when there are as many. */
export const formatHeadBytes = Math.max(...imageFormats.map((name) => formats[name].headBytes));

/** The format an image that begins with `head` looks like. */
export function detectFormat(head: Uint8Array): ImageFormat | undefined {
  // A tar header's octets 510 and 511 are padding, hence zero: no image is both.
  return imageFormats.find((name) => formats[name].matches(head));
}
