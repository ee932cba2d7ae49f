/** The other end of a transfer as RFC 1350, 2347 and 7440 describe it; pure, so that it also runs without a network. */

import type { TftpOptions, TftpPacket } from "../../server/tftp/codec.ts";

export interface Reader {
  /** What to send for what came. */
  receive(packet: TftpPacket): readonly TftpPacket[];
  /** What to send when nothing came for a while. */
  remind(): TftpPacket;
  /** Rises with every packet that brought something new: a client's timer runs from the last of them. */
  readonly progress: number;
  /** The whole file, once the last block is there. */
  readonly file: Uint8Array | undefined;
}

/** @throws Error when the server refuses */
export function createReader(name: string, options: TftpOptions = [], mode = "octet"): Reader {
  const parts: Uint8Array[] = [];
  const request = { kind: "read", name, mode, options } as const;
  let blockBytes = 512;
  let windowBlocks = 1;
  let begun = false;
  /** Blocks of this window that came in order. */
  let inWindow = 0;
  /** A gap was told already; the rest of that window says nothing new. */
  let toldGap = false;
  let complete = false;

  const ack = (): TftpPacket => {
    inWindow = 0;
    return { kind: "ack", block: parts.length & 0xffff };
  };
  const receiveData = (block: number, bytes: Uint8Array): readonly TftpPacket[] => {
    begun = true;
    if (complete) return [ack()];
    if (block !== ((parts.length + 1) & 0xffff)) {
      const ahead = (block - parts.length) & 0xffff;
      if (ahead === 0 && windowBlocks === 1) return [ack()]; // as most clients do: the server must bear it
      if (ahead === 0 || ahead > windowBlocks || toldGap) return []; // an old one, or more of a torn window
      toldGap = true;
      return [ack()];
    }
    parts.push(bytes);
    toldGap = false;
    inWindow += 1;
    complete = bytes.length < blockBytes;
    return complete || inWindow === windowBlocks ? [ack()] : [];
  };
  return {
    receive(packet) {
      if (packet.kind === "error") throw new Error(`${name}: ${packet.code} ${packet.message}`);
      if (packet.kind === "data") return receiveData(packet.block, packet.bytes);
      if (packet.kind !== "option-ack" || parts.length > 0) return [];
      const granted = new Map(packet.options);
      blockBytes = Number(granted.get("blksize") ?? 512);
      windowBlocks = Number(granted.get("windowsize") ?? 1);
      begun = true;
      return [ack()];
    },
    remind() {
      toldGap = false;
      return begun ? ack() : request;
    },
    get progress() {
      return parts.length + (begun ? 1 : 0);
    },
    get file() {
      return complete ? Buffer.concat(parts) : undefined;
    },
  };
}
