/** The signed part of an image. Pure: the agent may use it too. */

import { manifestText } from "#protocol/agent.ts";
import { canonicalJson } from "#protocol/discovery.ts";
import type { ImageManifest } from "#protocol/image.ts";

/** Exactly the members that are signed, whatever else `image` carries. */
export function manifestOf(image: ImageManifest): ImageManifest {
  return {
    version: image.version,
    name: image.name,
    architecture: image.architecture,
    format: image.format,
    compression: image.compression,
    digest: image.digest,
    sizeBytes: image.sizeBytes,
    storedBytes: image.storedBytes,
    storedDigest: image.storedDigest,
    bootloader: image.bootloader,
    ...(image.slots && { slots: image.slots }),
    ...(image.keep && { keep: image.keep }),
  };
}

/** The text an image's signature covers. */
export function signedManifestText(image: ImageManifest): string {
  return manifestText(canonicalJson(manifestOf(image)));
}
