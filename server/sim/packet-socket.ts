/**
 * Whole Ethernet frames of one interface: AF_PACKET (packet(7)), by calls to the
 * C library because Node has no such socket. CAP_NET_RAW is needed.
 *
 * Many frames cross in one call (recvmmsg, sendmmsg), each in a slot of its own:
 *
 *   slot   virtio_net_hdr (10) | frame ...
 *
 * The header before each frame is asked for with PACKET_VNET_HDR: between virtual
 * interfaces several datagrams or segments may come as one long frame, and it
 * says how long each was (GSO). Such frames are cut here, as a real wire would.
 */

import { SystemCallError } from "../net/device-socket.ts";

/** Linux's numbers: equal on amd64 and arm64. */
const linux = {
  packetFamily: 17, // AF_PACKET
  rawType: 3, // SOCK_RAW
  nonBlocking: 0o4000, // SOCK_NONBLOCK
  closeOnExec: 0o2000000, // SOCK_CLOEXEC
  allProtocols: 0x0003, // ETH_P_ALL
  socketLevel: 1, // SOL_SOCKET
  forceReceiveBuffer: 33, // SO_RCVBUFFORCE
  packetLevel: 263, // SOL_PACKET
  addMembership: 1, // PACKET_ADD_MEMBERSHIP
  promiscuous: 1, // PACKET_MR_PROMISC
  virtioHeader: 15, // PACKET_VNET_HDR
  ignoreOutgoing: 23, // PACKET_IGNORE_OUTGOING
  readable: 1, // POLLIN
  tryAgain: 11, // EAGAIN
  interrupted: 4, // EINTR
  invalid: 22, // EINVAL: a frame of a kind this kernel cannot describe
  noBuffers: 105, // ENOBUFS: the interface's queue is full
} as const;

const slots = 64;
const slotOctets = 65_552; // 10 (virtio) + 65535 (longest IPv4 packet) and room to be a multiple of 16
const virtioOctets = 10;
const messageOctets = 64; // struct mmsghdr on a 64-bit machine
const vectorOctets = 16; // struct iovec
const receiveBuffer = 16 * 1024 * 1024;
const udpSegments = 5; // VIRTIO_NET_HDR_GSO_UDP_L4
const udpPayloadAt = 42; // 14 (Ethernet) + 20 (IPv4) + 8 (UDP)

interface CLibrary {
  socket(domain: number, type: number, protocol: number): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, size: number): number;
  bind(fd: number, address: Uint8Array, size: number): number;
  close(fd: number): number;
  recvmmsg(fd: number, messages: bigint, count: number, flags: number, timeout: null): number;
  sendmmsg(fd: number, messages: bigint, count: number, flags: number): number;
  poll(entries: Uint8Array, count: number, timeoutMs: number): number;
  /** The same on a thread of its own. */
  pollLater(entries: Uint8Array, timeoutMs: number): Promise<number>;
  interfaceIndex(name: string): number;
  errno(): number;
  /** Memory that stays where it is. */
  allocate(octets: number): Memory;
  release(memory: Memory): void;
}

interface Memory {
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

/** What a simulation needs of its network; tests have one in memory. */
export interface FrameSocket {
  /** Calls `take` for each frame that waits, at most some 64; the bytes are valid only during the call. */
  receive(take: (frame: Uint8Array) => void): number;
  /** Queued until {@link flush}, copied at once. */
  send(frame: Uint8Array): void;
  flush(): void;
  /** Resolves when a frame waits or the time is over. `busy`: without leaving this thread. */
  readable(timeoutMs: number, busy: boolean): Promise<void>;
  close(): void;
}

/** @throws SystemCallError: `if_nametoindex` for an unknown interface, `socket` without CAP_NET_RAW. */
export async function openPacketSocket(interfaceName: string): Promise<FrameSocket> {
  const open = await packetSocketOpener();
  return open(interfaceName);
}

/** {@link openPacketSocket} in one go: for a thread that is in the interface's namespace for that moment only. */
export async function packetSocketOpener(): Promise<(interfaceName: string) => FrameSocket> {
  const c = await loadCLibrary();
  return (interfaceName) => openOn(c, interfaceName);
}

function openOn(c: CLibrary, interfaceName: string): FrameSocket {
  const check = (call: string, result: number) => {
    if (result < 0) throw new SystemCallError(call, c.errno());
    return result;
  };
  const index = c.interfaceIndex(interfaceName);
  if (index === 0) throw new SystemCallError("if_nametoindex", c.errno());
  const type = linux.rawType | linux.nonBlocking | linux.closeOnExec;
  const fd = check("socket AF_PACKET", c.socket(linux.packetFamily, type, 0));
  try {
    const set = (name: number, value: Uint8Array) =>
      check(
        `setsockopt SOL_PACKET ${name}`,
        c.setsockopt(fd, linux.packetLevel, name, value, value.length),
      );
    set(linux.ignoreOutgoing, integer(1));
    set(linux.virtioHeader, integer(1));
    // A full buffer loses frames as a switch does: a smaller one than asked for is no reason to stop.
    c.setsockopt(fd, linux.socketLevel, linux.forceReceiveBuffer, integer(receiveBuffer), 4);
    const address = linkAddress(index);
    check("bind", c.bind(fd, address, address.length));
    set(linux.addMembership, membership(index)); // the boards' hardware addresses are not the interface's
    return new PacketSocket(c, fd);
  } catch (error) {
    c.close(fd);
    throw error;
  }
}

class PacketSocket implements FrameSocket {
  readonly #c: CLibrary;
  readonly #fd: number;
  readonly #incoming: Ring;
  readonly #outgoing: Ring;
  readonly #poll: Uint8Array;
  #queued = 0;
  #open = true;

  constructor(c: CLibrary, fd: number) {
    this.#c = c;
    this.#fd = fd;
    this.#incoming = createRing(c);
    this.#outgoing = createRing(c);
    this.#poll = new Uint8Array(8);
    const view = new DataView(this.#poll.buffer);
    view.setInt32(0, fd, true);
    view.setInt16(4, linux.readable, true);
  }

  receive(take: (frame: Uint8Array) => void): number {
    if (!this.#open) return 0;
    const { address, view, slot } = this.#incoming;
    const count = this.#c.recvmmsg(this.#fd, address, slots, 0, null);
    if (count < 0) {
      const errno = this.#c.errno();
      if (errno === linux.invalid) return 1; // that frame is gone; others may wait
      if (errno === linux.tryAgain || errno === linux.interrupted) return 0;
      throw new SystemCallError("recvmmsg", errno);
    }
    for (let index = 0; index < count; index++) {
      const length = view.getUint32(index * messageOctets + 56, true);
      const bytes = slot(index);
      for (const frame of cutFrames(bytes.subarray(0, length))) take(frame);
    }
    return count;
  }

  send(frame: Uint8Array): void {
    if (!this.#open) return;
    if (this.#queued === slots) this.flush();
    const bytes = this.#outgoing.slot(this.#queued);
    bytes.fill(0, 0, virtioOctets);
    bytes.set(frame, virtioOctets);
    this.#outgoing.setLength(this.#queued, virtioOctets + frame.length);
    this.#queued += 1;
  }

  flush(): void {
    for (let sent = 0; sent < this.#queued; ) {
      const from = this.#outgoing.address + BigInt(sent * messageOctets);
      const count = this.#c.sendmmsg(this.#fd, from, this.#queued - sent, 0);
      if (count < 0) {
        const errno = this.#c.errno();
        const isLoss = errno === linux.noBuffers || errno === linux.tryAgain;
        if (!isLoss && errno !== linux.interrupted) throw new SystemCallError("sendmmsg", errno);
        if (isLoss) break; // a lost frame is the network's right; the boards send again
      } else sent += count;
    }
    this.#queued = 0;
  }

  async readable(timeoutMs: number, busy: boolean): Promise<void> {
    if (busy) this.#c.poll(this.#poll, 1, timeoutMs);
    else await this.#c.pollLater(this.#poll, timeoutMs);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#c.close(this.#fd);
    for (const ring of [this.#incoming, this.#outgoing]) ring.memory.forEach(this.#c.release);
  }
}

interface Ring {
  readonly memory: readonly Memory[];
  /** Of the first struct mmsghdr. */
  readonly address: bigint;
  readonly view: DataView;
  slot(index: number): Uint8Array;
  setLength(index: number, octets: number): void;
}

/**
 * `slots` messages of one buffer each, in memory that does not move.
 *
 *   struct mmsghdr (64 octets)        struct iovec (16)
 *   16  pointer to the iovec           0  pointer to the buffer
 *   24  number of them: 1              8  its length
 *   56  octets received
 */
function createRing(c: CLibrary): Ring {
  const headers = c.allocate(slots * (messageOctets + vectorOctets));
  const buffers = c.allocate(slots * slotOctets);
  const view = new DataView(headers.bytes.buffer, headers.bytes.byteOffset, headers.bytes.length);
  const vectorsAt = slots * messageOctets;
  headers.bytes.fill(0);
  for (let index = 0; index < slots; index++) {
    const vector = vectorsAt + index * vectorOctets;
    view.setBigUint64(index * messageOctets + 16, headers.address + BigInt(vector), true);
    view.setBigUint64(index * messageOctets + 24, 1n, true);
    view.setBigUint64(vector, buffers.address + BigInt(index * slotOctets), true);
    view.setBigUint64(vector + 8, BigInt(slotOctets), true);
  }
  const pieces = Array.from({ length: slots }, (_, index) =>
    buffers.bytes.subarray(index * slotOctets, (index + 1) * slotOctets),
  );
  return {
    memory: [headers, buffers],
    address: headers.address,
    view,
    slot: (index) => pieces[index] ?? new Uint8Array(0),
    setLength: (index, octets) =>
      view.setBigUint64(vectorsAt + index * vectorOctets + 8, BigInt(octets), true),
  };
}

/**
 * The frames of one slot: one, or the datagrams that were sent with one
 * UDP_SEGMENT call. (Joined TCP segments are left whole: their headers are right.)
 *
 *   virtio_net_hdr   flags (1) | gso type (1) | header length (2) | gso size (2) | ...
 */
export function cutFrames(slot: Uint8Array): readonly Uint8Array[] {
  const frame = slot.subarray(virtioOctets);
  const size = (slot[4] ?? 0) + (slot[5] ?? 0) * 256;
  if (slot[1] !== udpSegments || size === 0 || frame.length <= udpPayloadAt + size) {
    return frame.length > 0 ? [frame] : [];
  }
  const pieces: Uint8Array[] = [];
  for (let at = udpPayloadAt; at < frame.length; at += size) {
    const payload = frame.subarray(at, at + size);
    const piece = new Uint8Array(udpPayloadAt + payload.length);
    piece.set(frame.subarray(0, udpPayloadAt));
    piece.set(payload, udpPayloadAt);
    const view = new DataView(piece.buffer);
    view.setUint16(16, piece.length - 14); // IPv4: total length
    view.setUint16(38, piece.length - 34); // UDP: length
    pieces.push(piece);
  }
  return pieces;
}

let loaded: Promise<CLibrary> | undefined;

function loadCLibrary(): Promise<CLibrary> {
  loaded ??= declareCLibrary();
  return loaded;
}

async function declareCLibrary(): Promise<CLibrary> {
  const { default: koffi } = await import("koffi");
  const library = koffi.load(null); // the C library Node itself is linked with
  const poll = library.func("int poll(void *, uint64_t, int)");
  return {
    socket: library.func("int socket(int, int, int)"),
    setsockopt: library.func("int setsockopt(int, int, int, const void *, uint32_t)"),
    bind: library.func("int bind(int, const void *, uint32_t)"),
    close: library.func("int close(int)"),
    recvmmsg: library.func("int recvmmsg(int, void *, unsigned int, int, void *)"),
    sendmmsg: library.func("int sendmmsg(int, void *, unsigned int, int)"),
    poll,
    pollLater: (entries, timeoutMs) =>
      new Promise((resolve, reject) => {
        poll.async(entries, 1, timeoutMs, (error: Error | null, result: number) =>
          error ? reject(error) : resolve(result),
        );
      }),
    interfaceIndex: library.func("unsigned int if_nametoindex(const char *)"),
    errno: () => koffi.errno(),
    allocate(octets) {
      const address = koffi.alloc("uint8_t", octets) as bigint;
      return { address, bytes: new Uint8Array(koffi.view(address, octets)) };
    },
    release: ({ address }) => koffi.free(address),
  };
}

function integer(value: number): Uint8Array {
  return new Uint8Array(Int32Array.of(value).buffer);
}

/** struct sockaddr_ll: family, protocol in network order, interface; the rest is not read by bind(2). */
function linkAddress(index: number): Uint8Array {
  const out = new Uint8Array(20);
  const view = new DataView(out.buffer);
  view.setUint16(0, linux.packetFamily, true); // both architectures served are little-endian
  view.setUint16(2, linux.allProtocols);
  view.setInt32(4, index, true);
  return out;
}

/** struct packet_mreq: interface, kind, no address. */
function membership(index: number): Uint8Array {
  const out = new Uint8Array(16);
  const view = new DataView(out.buffer);
  view.setInt32(0, index, true);
  view.setUint16(4, linux.promiscuous, true);
  return out;
}
