/** What is in the library: OS images (a disk, or a root file system as tar), and files to be copied. */

import type { ImageDigest, Instant, JobId, NodeId } from "./brand.ts";
import type { Architecture } from "./firmware.ts";
import type { SlotSizes } from "./root-slots.ts";

export const imageFormats = ["raw", "rootfs-tar", "file"] as const;
export type ImageFormat = (typeof imageFormats)[number];

export const compressions = ["none", "gzip", "xz", "zstd"] as const;
export type Compression = (typeof compressions)[number];

/** What is signed: an agent writes nothing that such a manifest does not name. */
export interface ImageManifest {
  readonly version: 1;
  readonly name: string;
  readonly architecture: Architecture;
  readonly format: ImageFormat;
  readonly compression: Compression;
  /** sha-256 of the plain bytes: the identity of the image. */
  readonly digest: ImageDigest;
  /** Plain bytes; for `raw` the least size of a target disk. */
  readonly sizeBytes: number;
  /** Bytes as stored and sent, and their sha-256. */
  readonly storedBytes: number;
  readonly storedDigest: string;
  /** `raspberry-pi`: FAT boot partition with firmware files, MBR. `grub`: BIOS and UEFI. */
  readonly bootloader: "grub" | "raspberry-pi" | "none";
  /** Root file systems only: how it is laid out on a disk with room for it; absent: one root to the end. */
  readonly slots?: SlotSizes;
  /** Absolute paths that an update carries over into the system it writes. */
  readonly keep?: readonly string[];
}

/** The node whose system it is a copy of. */
export interface ImageOrigin {
  readonly nodeId: NodeId;
  /** What the node was called then. */
  readonly name: string;
  readonly jobId: JobId;
}

export interface Image extends ImageManifest {
  /** Absent: somebody pushed it. */
  readonly origin?: ImageOrigin;
  readonly createdAt: Instant;
  /** ed25519 over the canonical JSON of the manifest, base64. */
  readonly signature: string;
  /** Never kept: its file is gone from the library. Whoever pushes the same octets puts it back. */
  readonly isMissing?: true;
}
