/** The wire over batched system calls: a window leaves as one row, cut into datagrams by the kernel. */

import type { Destination, Outbox, PinnedBytes, Row } from "../net/batch.ts";
import type { CLibrary } from "../net/c-library.ts";
import type { Blocks, Channel, Content, Via, Wire } from "./wire.ts";

interface PinnedContent extends Content, PinnedBytes {}

/** @param bytes - memory of its own, which never moves */
export function pinContent(c: CLibrary, bytes: Uint8Array): PinnedContent {
  return { bytes, sizeBytes: bytes.length, pointer: bytes.length > 0 ? c.addressOf(bytes) : 0 };
}

const dataOpcode = 3;

export class BatchedWire implements Wire {
  readonly #outbox: Outbox;
  readonly #fds: Readonly<Record<Via, number>>;

  constructor(outbox: Outbox, fds: Readonly<Record<Via, number>>) {
    this.#outbox = outbox;
    this.#fds = fds;
  }

  blocks(to: Channel, { content, blockBytes, first, count, fragmented }: Blocks): void {
    const row: Row = {
      content: content as PinnedContent, // made by pinContent, as every content of this thread
      pieceBytes: blockBytes,
      first: first - 1,
      count,
      header: dataHeader,
    };
    this.#outbox.row(this.#destination(to), row, !fragmented);
  }

  packet(to: Channel, bytes: Uint8Array): void {
    this.#outbox.packet(this.#destination(to), bytes);
  }

  #destination({ address, port, via }: Channel): Destination {
    return { fd: this.#fds[via], address, port };
  }
}

/** Opcode and block number; blocks count from 1. */
function dataHeader(piece: number): number {
  return dataOpcode * 65536 + ((piece + 1) & 0xffff);
}
