/**
 * What the transfers need of the network, and what they give to it. Two kinds:
 * wire-batched.ts (many datagrams per system call) and engine-portable.ts (Node's
 * own sockets). Both are held to the same tests.
 */

/** Which of our sockets: the well-known port, or one of the two transfer ports. */
export type Via = "requests" | "transfers" | "spare";

/** A client's address and port, and the socket of ours it talks to. */
export interface Channel {
  /** As a number: `ipv4FromNumber` makes it readable. */
  readonly address: number;
  readonly port: number;
  readonly via: Via;
}

/** A file's bytes, shared by all transfers of it and never changed. */
export interface Content {
  readonly bytes: Uint8Array;
}

export interface Blocks {
  readonly content: Content;
  readonly blockBytes: number;
  /** Counted from 1, without limit; on the wire modulo 65536. */
  readonly first: number;
  readonly count: number;
  /** A datagram of these may be larger than the interface's MTU. */
  readonly fragmented: boolean;
}

/** Sends at once, or at the end of the turn; a datagram that cannot be sent is lost like any other. */
export interface Wire {
  blocks(to: Channel, blocks: Blocks): void;
  packet(to: Channel, bytes: Uint8Array): void;
}

/** What the wire has done since the start. */
export interface WireCounts {
  readonly calls: number;
  readonly datagrams: number;
  readonly refused: number;
}
