/**
 * A UDP socket for load generators: many datagrams per system call, and one socket
 * for many addresses of this machine (IP_PKTINFO tells which one a datagram was
 * sent to, and says which one an answer leaves from).
 *
 * Waiting blocks the whole process: it does nothing else. 64-bit little-endian Linux only.
 *
 *   struct mmsghdr (64)                             one control buffer (32)
 *   0 name*  8 namelen  16 iov*  24 iovlen          0 len = 28  8 IPPROTO_IP  12 IP_PKTINFO
 *   32 control*  40 controllen  48 flags  56 len    16 ifindex  20 spec_dst  24 destination
 */

import koffi from "koffi";

/** asm-generic/socket.h, bits/socket.h, bits/in.h: equal on amd64 and arm64. */
const linux = {
  internet: 2, // AF_INET
  datagram: 2, // SOCK_DGRAM
  socketLevel: 1, // SOL_SOCKET
  forceSendBuffer: 32, // SO_SNDBUFFORCE
  forceReceiveBuffer: 33, // SO_RCVBUFFORCE
  broadcast: 6, // SO_BROADCAST
  ip: 0, // IPPROTO_IP
  packetInfo: 8, // IP_PKTINFO
  doNotWait: 0x40, // MSG_DONTWAIT
  again: 11, // EAGAIN
  interrupted: 4, // EINTR
  readable: 1, // POLLIN
} as const;

const headerSize = 64;
const addressSize = 16;
const controlSize = 32;
const controlLength = 28;

const c = koffi.load(null);
const library = {
  socket: c.func("int socket(int, int, int)"),
  setsockopt: c.func("int setsockopt(int, int, int, const void *, uint32_t)"),
  bind: c.func("int bind(int, const void *, uint32_t)"),
  close: c.func("int close(int)"),
  recvmmsg: c.func("int recvmmsg(int, void *, unsigned int, int, void *)"),
  poll: c.func("int poll(void *, unsigned long, int)"),
  sendmmsg: c.func("int sendmmsg(int, void *, unsigned int, int)"),
};

export interface BatchOptions {
  /** UDP port on every address of this machine; 0: any. */
  readonly port: number;
  /** Datagrams per call, and room for each. */
  readonly slots: number;
  readonly slotSize: number;
  readonly bufferBytes: number;
}

/** An address is its 32 bits as a number, a port is in the machine's order. */
export interface BatchSocket {
  /** Datagram `index` of the last `receive` is `input[index * slotSize ...]`. */
  readonly input: Buffer;
  readonly slotSize: number;
  readonly fd: number;
  /** Takes what is there; 0: nothing. */
  receive(): number;
  lengthOf(index: number): number;
  senderOf(index: number): number;
  senderPortOf(index: number): number;
  /** The address of this machine the datagram was sent to. */
  receiverOf(index: number): number;
  /** Puts a datagram into the batch; the batch leaves when it is full, or by `flush`. */
  send(bytes: Uint8Array, from: number, to: number, port: number): void;
  flush(): void;
  close(): void;
}

/** @throws Error naming the call that failed, with errno */
export function openBatchSocket(options: BatchOptions): BatchSocket {
  const { slots, slotSize } = options;
  const fd = open(options);
  const incoming = layOut(slots, slotSize);
  const outgoing = layOut(slots, slotSize);
  let queued = 0;
  const flush = () => {
    for (let sent = 0; sent < queued; ) {
      const rest = outgoing.headers.subarray(sent * headerSize);
      const count = library.sendmmsg(fd, rest, queued - sent, 0) as number;
      if (count < 0) throw new Error(`sendmmsg failed with errno ${koffi.errno()}`);
      sent += count;
    }
    queued = 0;
  };
  return {
    fd,
    input: incoming.data,
    slotSize,
    receive() {
      for (let index = 0; index < slots; index++) {
        incoming.headers.writeUInt32LE(addressSize, index * headerSize + 8);
        incoming.headers.writeUInt32LE(controlSize, index * headerSize + 40);
      }
      const count = library.recvmmsg(fd, incoming.headers, slots, linux.doNotWait, null) as number;
      if (count >= 0) return count;
      const errno = koffi.errno();
      if (errno === linux.again) return 0;
      throw new Error(`recvmmsg failed with errno ${errno}`);
    },
    lengthOf: (index) => incoming.headers.readUInt32LE(index * headerSize + 56),
    senderOf: (index) => incoming.names.readUInt32BE(index * addressSize + 4),
    senderPortOf: (index) => incoming.names.readUInt16BE(index * addressSize + 2),
    receiverOf: (index) => incoming.controls.readUInt32BE(index * controlSize + 24),
    send(bytes, from, to, port) {
      const at = queued * addressSize;
      outgoing.names.writeUInt16BE(port, at + 2);
      outgoing.names.writeUInt32BE(to, at + 4);
      outgoing.controls.writeUInt32BE(from, queued * controlSize + 20);
      outgoing.vectors.writeUInt32LE(bytes.length, queued * 16 + 8);
      outgoing.data.set(bytes, queued * slotSize);
      queued += 1;
      if (queued === slots) flush();
    },
    flush,
    close: () => void library.close(fd),
  };
}

/** Blocks until one of `sockets` has a datagram or the time is up. Gives those that have. */
export function waitForDatagrams(
  sockets: readonly BatchSocket[],
  timeoutMs: number,
): readonly BatchSocket[] {
  const entries = Buffer.alloc(sockets.length * 8); // struct pollfd: fd 0, events 4, revents 6
  for (const [index, { fd }] of sockets.entries()) {
    entries.writeInt32LE(fd, index * 8);
    entries.writeInt16LE(linux.readable, index * 8 + 4);
  }
  const count = library.poll(entries, sockets.length, timeoutMs) as number;
  if (count < 0 && koffi.errno() !== linux.interrupted) {
    throw new Error(`poll failed with errno ${koffi.errno()}`);
  }
  return count > 0 ? sockets.filter((_, index) => entries.readInt16LE(index * 8 + 6) !== 0) : [];
}

function open({ port, bufferBytes }: BatchOptions): number {
  const check = (call: string, result: unknown) => {
    if (Number(result) < 0) throw new Error(`${call} failed with errno ${koffi.errno()}`);
    return Number(result);
  };
  const fd = check("socket", library.socket(linux.internet, linux.datagram, 0));
  const set = (name: string, level: number, option: number, value: Buffer) =>
    check(name, library.setsockopt(fd, level, option, value, value.length));
  set("SO_RCVBUFFORCE", linux.socketLevel, linux.forceReceiveBuffer, int32(bufferBytes));
  set("SO_SNDBUFFORCE", linux.socketLevel, linux.forceSendBuffer, int32(bufferBytes));
  set("SO_BROADCAST", linux.socketLevel, linux.broadcast, int32(1));
  set("IP_PKTINFO", linux.ip, linux.packetInfo, int32(1));
  const any = Buffer.alloc(addressSize);
  any.writeUInt16LE(linux.internet, 0);
  any.writeUInt16BE(port, 2);
  check("bind", library.bind(fd, any, any.length));
  return fd;
}

function int32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeInt32LE(value);
  return out;
}

/** Headers that point at their own name, vector, control and data; the memory never moves. */
function layOut(slots: number, slotSize: number) {
  const memory = (size: number) => Buffer.from(new ArrayBuffer(size));
  const headers = memory(slots * headerSize);
  const names = memory(slots * addressSize);
  const vectors = memory(slots * 16);
  const controls = memory(slots * controlSize);
  const data = memory(slots * slotSize);
  const start = (buffer: Buffer) => BigInt(koffi.address(buffer));
  const begin = {
    names: start(names),
    vectors: start(vectors),
    controls: start(controls),
    data: start(data),
  };
  for (let index = 0; index < slots; index++) {
    const at = BigInt(index);
    const header = index * headerSize;
    headers.writeBigUInt64LE(begin.names + at * BigInt(addressSize), header);
    headers.writeUInt32LE(addressSize, header + 8);
    headers.writeBigUInt64LE(begin.vectors + at * 16n, header + 16);
    headers.writeBigUInt64LE(1n, header + 24);
    headers.writeBigUInt64LE(begin.controls + at * BigInt(controlSize), header + 32);
    headers.writeUInt32LE(controlSize, header + 40);
    vectors.writeBigUInt64LE(begin.data + at * BigInt(slotSize), index * 16);
    vectors.writeBigUInt64LE(BigInt(slotSize), index * 16 + 8);
    names.writeUInt16LE(linux.internet, index * addressSize);
    controls.writeBigUInt64LE(BigInt(controlLength), index * controlSize);
    controls.writeInt32LE(linux.ip, index * controlSize + 8);
    controls.writeInt32LE(linux.packetInfo, index * controlSize + 12);
  }
  return { headers, names, vectors, controls, data };
}
