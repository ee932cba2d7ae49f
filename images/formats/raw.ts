/** A whole disk, sector by sector, with a partition table or a boot sector that says it is one. */

import { ImageInvalidError } from "../../server/errors.ts";
import type { Format } from "./format.ts";

const sector = 512; // octets
/** Last two octets of sector 0: an MBR, and the protective MBR before a GPT (UEFI 2.10 §5.2.3). */
const signatureAt = 510;

export const raw: Format = {
  headBytes: sector,
  matches: hasBootSignature,

  startCheck() {
    const head = new Uint8Array(sector);
    let length = 0;
    return {
      write(bytes) {
        if (length < sector) head.set(bytes.subarray(0, sector - length), length);
        const had = length;
        length += bytes.length;
        if (had < sector && length >= sector && !hasBootSignature(head)) {
          throw new ImageInvalidError(
            `not a disk image: sector 0 ends with ${head.subarray(signatureAt).toHex()}, not 55aa`,
          );
        }
      },
      end() {
        if (length === 0 || length % sector !== 0) {
          throw new ImageInvalidError(
            `disk image of ${length} octets is not a whole number of ${sector}-octet sectors`,
          );
        }
      },
    };
  },
};

function hasBootSignature(head: Uint8Array): boolean {
  return head[signatureAt] === 0x55 && head[signatureAt + 1] === 0xaa;
}
