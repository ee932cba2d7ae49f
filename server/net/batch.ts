/**
 * Many datagrams per system call, on descriptors of device-socket.ts: an inbox
 * (recvmmsg), an outbox (sendmmsg), and a wait for either (poll).
 *
 * The structures lie in memory that never moves and are laid out once. 64-bit
 * little-endian Linux only, as all we run on.
 *
 *   struct mmsghdr (64 octets)                     struct cmsghdr of UDP_SEGMENT (24)
 *    0 name*   8 namelen   16 iov*   24 iovlen      0 len = 18   8 SOL_UDP   12 UDP_SEGMENT
 *   32 control*  40 controllen  48 flags  56 len   16 octets of a datagram
 *   struct iovec (16): 0 base*  8 len              struct sockaddr_in (16): 2 port  4 address
 *
 * With UDP_SEGMENT one message is a row of equal datagrams (the last may be
 * shorter): they go through the kernel as one and are cut at the very end, by the
 * network adapter or just before it. A row's content is never copied here: it is
 * read by the kernel where it lies, between headers of four octets.
 */

import { type CLibrary, linux, type Pointer } from "./c-library.ts";

const headerOctets = 64;
const vectorOctets = 16;
const nameOctets = 16;
const controlOctets = 24;
const controlLength = 18; // 16 (struct cmsghdr) + 2

/** Octets of the memory behind one address, seen as bytes and as 32-bit words. */
class Memory {
  readonly bytes: Uint8Array;
  readonly base: Pointer;
  readonly #words: Uint32Array;
  #used = 0;

  constructor(c: CLibrary, octets: number) {
    const buffer = new ArrayBuffer(octets);
    this.bytes = new Uint8Array(buffer);
    this.#words = new Uint32Array(buffer);
    this.base = c.addressOf(this.bytes);
  }

  /** Takes the next octets for something; all sizes here are multiples of 8. */
  take(octets: number): number {
    const start = this.#used;
    this.#used += octets;
    return start;
  }

  set32(offset: number, value: number): void {
    this.#words[offset >> 2] = value;
  }

  get32(offset: number): number {
    return this.#words[offset >> 2] ?? 0;
  }

  /** A pointer or a size_t, below 2^53. */
  set64(offset: number, value: number): void {
    this.#words[offset >> 2] = value >>> 0;
    this.#words[(offset >> 2) + 1] = Math.floor(value / 2 ** 32);
  }
}

const inboxSlots = 64;
/** A TFTP request has 512 octets at most; what is longer is cut here and refused there. */
const tftpSlotOctets = 1024;

/** The datagrams of the last `receive`, numbered from 0. */
export class Inbox {
  readonly #c: CLibrary;
  readonly #memory: Memory;
  readonly #headers: number;
  readonly #names: number;
  readonly #slots: number;
  readonly #slotOctets: number;

  /** @param slotOctets - the longest datagram; what is longer is cut */
  constructor(c: CLibrary, slotOctets = tftpSlotOctets) {
    this.#c = c;
    this.#slotOctets = slotOctets;
    const each = headerOctets + vectorOctets + nameOctets + slotOctets;
    const memory = new Memory(c, inboxSlots * each);
    this.#memory = memory;
    this.#headers = memory.take(inboxSlots * headerOctets);
    const vectors = memory.take(inboxSlots * vectorOctets);
    this.#names = memory.take(inboxSlots * nameOctets);
    this.#slots = memory.take(inboxSlots * slotOctets);
    for (let slot = 0; slot < inboxSlots; slot++) {
      const header = this.#headers + slot * headerOctets;
      const vector = vectors + slot * vectorOctets;
      memory.set64(header, memory.base + this.#names + slot * nameOctets);
      memory.set32(header + 8, nameOctets);
      memory.set64(header + 16, memory.base + vector);
      memory.set64(header + 24, 1);
      memory.set64(vector, memory.base + this.#slots + slot * slotOctets);
      memory.set64(vector + 8, slotOctets);
    }
  }

  /** All octets of all datagrams; one begins at `startOf`. */
  get bytes(): Uint8Array {
    return this.#memory.bytes;
  }

  /** Takes what has arrived, without waiting. An error counts as nothing arrived. */
  receive(fd: number): number {
    const { base } = this.#memory;
    const count = this.#c.recvmmsg(fd, base + this.#headers, inboxSlots, linux.dontWait, 0);
    return Math.max(0, count);
  }

  /** True when more may be waiting. */
  wasFilledBy(count: number): boolean {
    return count === inboxSlots;
  }

  startOf(index: number): number {
    return this.#slots + index * this.#slotOctets;
  }

  lengthOf(index: number): number {
    return this.#memory.get32(this.#headers + index * headerOctets + 56);
  }

  portOf(index: number): number {
    return uint16(this.#memory.bytes, this.#names + index * nameOctets + 2);
  }

  /** As a number, for tables: `ipv4FromNumber` makes it readable. */
  addressOf(index: number): number {
    const at = this.#names + index * nameOctets + 4;
    const { bytes } = this.#memory;
    return uint16(bytes, at) * 65536 + uint16(bytes, at + 2);
  }
}

function uint16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
}

/** Where a datagram goes to and which of our sockets it leaves from. */
export interface Destination {
  readonly fd: number;
  readonly address: number;
  readonly port: number;
}

/** Bytes that do not move and that somebody holds until the outbox was flushed. */
export interface PinnedBytes {
  readonly sizeBytes: number;
  readonly pointer: Pointer;
}

/** Equal pieces of one content, each behind a header of four octets. */
export interface Row {
  readonly content: PinnedBytes;
  readonly pieceBytes: number;
  /** Counted from 0. */
  readonly first: number;
  readonly count: number;
  /** The header of a piece, as a 32-bit number. */
  header(piece: number): number;
}

export interface OutboxCounts {
  /** sendmmsg calls. */
  calls: number;
  datagrams: number;
  /** The kernel would not take them: no route, a full queue for 200 ms. A client asks again. */
  refused: number;
}

const maxMessages = 128;
const maxPieces = 2048;
const packetArea = 64 * 1024;
/** UDP_MAX_SEGMENTS of the oldest kernel that has UDP_SEGMENT. */
const maxSegments = 64;
const maxDatagram = 65507; // 65535 - 20 (IPv4) - 8 (UDP)

/** Datagrams that wait for one system call. Full or for another socket: they leave at once. */
export class Outbox {
  readonly counts: OutboxCounts = { calls: 0, datagrams: 0, refused: 0 };
  readonly #c: CLibrary;
  readonly #memory: Memory;
  readonly #headers: number;
  readonly #names: number;
  readonly #controls: number;
  readonly #vectors: number;
  readonly #pieceHeaders: number;
  readonly #packets: number;
  /** One message more, for a datagram that leaves alone. */
  readonly #single: number;
  readonly #held: unknown[] = [];
  #fd = -1;
  #messages = 0;
  #vectorCount = 0;
  #pieces = 0;
  #packetBytes = 0;
  #segmentation: boolean;

  constructor(c: CLibrary, options: { readonly segmentation: boolean }) {
    this.#c = c;
    this.#segmentation = options.segmentation;
    const perMessage = headerOctets + nameOctets + controlOctets;
    const memory = new Memory(
      c,
      maxMessages * perMessage + maxPieces * (2 * vectorOctets + 4) + packetArea + headerOctets,
    );
    this.#memory = memory;
    this.#headers = memory.take(maxMessages * headerOctets);
    this.#names = memory.take(maxMessages * nameOctets);
    this.#controls = memory.take(maxMessages * controlOctets);
    this.#vectors = memory.take(maxPieces * 2 * vectorOctets);
    this.#pieceHeaders = memory.take(maxPieces * 4);
    this.#packets = memory.take(packetArea);
    this.#single = memory.take(headerOctets);
  }

  /** False from the first time on that the interface cannot do it. */
  get segmentation(): boolean {
    return this.#segmentation;
  }

  /** One datagram, copied. */
  packet(to: Destination, bytes: Uint8Array): void {
    this.#makeRoom(to.fd, 1, bytes.length);
    const start = this.#packets + this.#packetBytes;
    this.#memory.bytes.set(bytes, start);
    this.#packetBytes += bytes.length;
    this.#begin(to, 0);
    this.#vector(this.#memory.base + start, bytes.length);
    this.#end();
  }

  /**
   * A row of datagrams, in as few messages as the kernel allows.
   *
   * @param segmented - false: a datagram of it may be larger than the interface's MTU
   */
  row(to: Destination, row: Row, segmented: boolean): void {
    const datagram = row.pieceBytes + 4;
    const fitting = Math.min(maxSegments, Math.floor(maxDatagram / datagram));
    const most = segmented && this.#segmentation ? Math.max(1, fitting) : 1;
    for (let done = 0; done < row.count; done += most) {
      this.#message(to, row, row.first + done, Math.min(most, row.count - done));
    }
    if (row.count > 0) this.#held.push(row.content);
  }

  #message(to: Destination, row: Row, first: number, count: number): void {
    this.#makeRoom(to.fd, count, 0);
    this.#begin(to, count > 1 ? row.pieceBytes + 4 : 0);
    const { bytes, base } = this.#memory;
    for (let piece = first; piece < first + count; piece++) {
      const at = this.#pieceHeaders + this.#pieces * 4;
      const header = row.header(piece);
      bytes[at] = header >>> 24;
      bytes[at + 1] = header >>> 16;
      bytes[at + 2] = header >>> 8;
      bytes[at + 3] = header;
      this.#pieces += 1;
      this.#vector(base + at, 4);
      const start = piece * row.pieceBytes;
      const length = Math.min(row.pieceBytes, row.content.sizeBytes - start);
      this.#vector(row.content.pointer + (length > 0 ? start : 0), Math.max(0, length));
    }
    this.#end();
  }

  #makeRoom(fd: number, pieces: number, octets: number): void {
    const fits =
      this.#fd === fd &&
      this.#messages < maxMessages &&
      this.#vectorCount + 2 * pieces <= 2 * maxPieces &&
      this.#pieces + pieces <= maxPieces &&
      this.#packetBytes + octets <= packetArea;
    if (fits) return;
    this.flush();
    this.#fd = fd;
  }

  /** @param segment - octets of each datagram of a row; 0: the message is one datagram */
  #begin(to: Destination, segment: number): void {
    const memory = this.#memory;
    const header = this.#headers + this.#messages * headerOctets;
    const name = this.#names + this.#messages * nameOctets;
    const { bytes } = memory;
    memory.set32(name, linux.internet);
    bytes[name + 2] = to.port >>> 8;
    bytes[name + 3] = to.port;
    bytes[name + 4] = to.address >>> 24;
    bytes[name + 5] = to.address >>> 16;
    bytes[name + 6] = to.address >>> 8;
    bytes[name + 7] = to.address;
    memory.set64(header, memory.base + name);
    memory.set32(header + 8, nameOctets);
    memory.set64(header + 16, memory.base + this.#vectors + this.#vectorCount * vectorOctets);
    memory.set64(header + 24, 0);
    const control = this.#controls + this.#messages * controlOctets;
    memory.set64(header + 32, segment > 0 ? memory.base + control : 0);
    memory.set64(header + 40, segment > 0 ? controlOctets : 0);
    if (segment === 0) return;
    memory.set64(control, controlLength);
    memory.set32(control + 8, linux.udpLevel);
    memory.set32(control + 12, linux.udpSegment);
    memory.set32(control + 16, segment);
  }

  #vector(pointer: Pointer, length: number): void {
    const memory = this.#memory;
    const vector = this.#vectors + this.#vectorCount * vectorOctets;
    memory.set64(vector, pointer);
    memory.set32(vector + 8, length);
    this.#vectorCount += 1;
    const count = this.#headers + this.#messages * headerOctets + 24;
    memory.set32(count, memory.get32(count) + 1);
  }

  #end(): void {
    this.#messages += 1;
  }

  /** Sends everything that waits. */
  flush(): void {
    const { base } = this.#memory;
    for (let at = 0; at < this.#messages; ) {
      const first = base + this.#headers + at * headerOctets;
      const sent = this.#c.sendmmsg(this.#fd, first, this.#messages - at, 0);
      if (sent > 0) {
        this.counts.calls += 1;
        for (const end = at + sent; at < end; at++) this.counts.datagrams += this.#datagramsOf(at);
        continue;
      }
      const errno = this.#c.errno();
      if (errno === linux.interrupted) continue;
      if (this.#isRow(at) && refusesSegments(errno)) {
        this.#segmentation = false;
        this.#sendApart(at);
      } else this.counts.refused += this.#datagramsOf(at);
      at += 1;
    }
    this.#messages = 0;
    this.#vectorCount = 0;
    this.#pieces = 0;
    this.#packetBytes = 0;
    this.#held.length = 0;
  }

  #isRow(message: number): boolean {
    return this.#memory.get32(this.#headers + message * headerOctets + 40) > 0;
  }

  #datagramsOf(message: number): number {
    if (!this.#isRow(message)) return 1;
    return this.#memory.get32(this.#headers + message * headerOctets + 24) / 2;
  }

  /** The datagrams of a row one by one: the interface cannot cut it. */
  #sendApart(message: number): void {
    const memory = this.#memory;
    const header = this.#headers + message * headerOctets;
    memory.bytes.copyWithin(this.#single, header, header + headerOctets);
    memory.set64(this.#single + 24, 2);
    memory.set64(this.#single + 32, 0);
    memory.set64(this.#single + 40, 0);
    for (let piece = 0; piece < this.#datagramsOf(message); piece++) {
      const vector = memory.get32(header + 16) + 2 ** 32 * memory.get32(header + 20);
      memory.set64(this.#single + 16, vector + piece * 2 * vectorOctets);
      const sent = this.#c.sendmmsg(this.#fd, memory.base + this.#single, 1, 0);
      this.counts.calls += 1;
      if (sent === 1) this.counts.datagrams += 1;
      else this.counts.refused += 1;
    }
  }
}

/** EIO: no checksum offload on the interface. EINVAL, EMSGSIZE: a segment is larger than the path takes. */
function refusesSegments(errno: number): boolean {
  return errno === linux.ioError || errno === linux.invalid || errno === linux.messageTooLong;
}

/** Waits until one of some descriptors can be read. */
export class Poll {
  readonly #c: CLibrary;
  readonly #memory: Memory;
  readonly #count: number;

  constructor(c: CLibrary, fds: readonly number[]) {
    this.#c = c;
    this.#memory = new Memory(c, fds.length * 8);
    this.#count = fds.length;
    for (const [at, fd] of fds.entries()) {
      this.#memory.set32(at * 8, fd);
      this.#memory.set32(at * 8 + 4, linux.readable);
    }
  }

  /** @returns false after the time limit, or when a signal came. */
  wait(limitMs: number): boolean {
    return this.#c.poll(this.#memory.base, this.#count, Math.ceil(limitMs)) > 0;
  }

  /** Whether the descriptor at this place of the list was readable after the last `wait`. */
  isReadable(at: number): boolean {
    return this.#memory.get32(at * 8 + 4) >>> 16 !== 0;
  }
}

/** A counter one thread sleeps on (`Poll`) and another wakes it by, through the same descriptor. */
export class WakeCounter {
  readonly fd: number;
  readonly #c: CLibrary;
  readonly #memory: Memory;

  constructor(c: CLibrary) {
    this.#c = c;
    this.#memory = new Memory(c, 8);
    this.fd = c.eventfd(0, linux.closeOnExec | linux.nonBlocking);
  }

  /** Makes it unreadable until it is woken again. */
  clear(): void {
    this.#c.read(this.fd, this.#memory.base, 8);
  }
}
