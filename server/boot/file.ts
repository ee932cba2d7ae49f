/** A boot file and the table it is found in: what TFTP and HTTP serve, and all they serve. */

import type { Ipv4Address } from "#protocol/brand.ts";

export interface BootFile {
  /** As it is named in the table; not always the name that was asked for. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly contentType: string;
  /** Strong entity tag with its quotes (RFC 9110 §8.8.3); absent for text made for one node. */
  readonly etag?: string;
  /** Set when the file is large and better streamed than held in memory. */
  readonly path?: string;
  /** The content, shared by all readers: never write to it. */
  bytes(): Uint8Array;
}

export interface BootPeer {
  readonly address: Ipv4Address;
  readonly protocol: "tftp" | "http";
}

export interface BootFiles {
  /**
   * Looks a name up. A name is never a path: what is not in the table does not exist.
   *
   * @param name - from the wire, a leading slash allowed
   * @throws ProvisionError when the file exists and cannot be served
   */
  open(name: string, peer: BootPeer): BootFile | undefined;
}
