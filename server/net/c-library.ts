/**
 * The calls of the C library that Node does not offer, through koffi.
 *
 * A call costs about 0.15 microseconds more than the system call itself. A
 * pointer is a plain number: the address of memory that does not move
 * (`addressOf`), so structures are laid out once and used again and again.
 */

/** Linux's numbers (asm-generic/socket.h, bits/socket.h, linux/udp.h, errno): equal on amd64 and arm64. */
export const linux = {
  unix: 1, // AF_UNIX
  internet: 2, // AF_INET
  netlink: 16, // AF_NETLINK
  packet: 17, // AF_PACKET
  stream: 1, // SOCK_STREAM
  datagram: 2, // SOCK_DGRAM
  raw: 3, // SOCK_RAW
  closeOnExec: 0o2000000, // SOCK_CLOEXEC, EFD_CLOEXEC
  nonBlocking: 0o4000, // EFD_NONBLOCK
  socketLevel: 1, // SOL_SOCKET
  reuseAddress: 2, // SO_REUSEADDR
  sendBuffer: 7, // SO_SNDBUF
  receiveBuffer: 8, // SO_RCVBUF
  sendTimeout: 21, // SO_SNDTIMEO
  bindToDevice: 25, // SO_BINDTODEVICE
  sendBufferForce: 32, // SO_SNDBUFFORCE
  receiveBufferForce: 33, // SO_RCVBUFFORCE
  udpLevel: 17, // SOL_UDP
  udpSegment: 103, // UDP_SEGMENT
  dontWait: 0x40, // MSG_DONTWAIT
  readable: 1, // POLLIN
  lockExclusive: 2, // LOCK_EX
  lockAtOnce: 4, // LOCK_NB
  interrupted: 4, // EINTR
  ioError: 5, // EIO
  again: 11, // EAGAIN, EWOULDBLOCK
  invalid: 22, // EINVAL
  messageTooLong: 90, // EMSGSIZE
} as const;

/** An address as koffi takes it: below 2^47, so a double holds it exactly. */
export type Pointer = number;

export interface CLibrary {
  socket(domain: number, type: number, protocol: number): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, size: number): number;
  bind(fd: number, address: Uint8Array, size: number): number;
  getsockname(fd: number, address: Uint8Array, size: Uint8Array): number;
  sendto(
    fd: number,
    bytes: Uint8Array,
    size: number,
    flags: number,
    address: Uint8Array,
    addressSize: number,
  ): number;
  recv(fd: number, into: Uint8Array, size: number, flags: number): number;
  /** 0: there is no such interface. */
  interfaceIndex(name: string): number;
  close(fd: number): number;
  flock(fd: number, operation: number): number;
  poll(fds: Pointer, count: number, timeoutMs: number): number;
  recvmmsg(fd: number, headers: Pointer, count: number, flags: number, timeout: Pointer): number;
  sendmmsg(fd: number, headers: Pointer, count: number, flags: number): number;
  eventfd(value: number, flags: number): number;
  read(fd: number, into: Pointer, size: number): number;
  /** Of the call before; nothing may come between. */
  errno(): number;
  /** Of the first octet; valid as long as somebody holds the buffer. */
  addressOf(bytes: Uint8Array): Pointer;
}

let loaded: Promise<CLibrary> | undefined;

/** @throws any error of koffi when there is no build of it for this machine. */
export function loadCLibrary(): Promise<CLibrary> {
  loaded ??= load();
  return loaded;
}

async function load(): Promise<CLibrary> {
  const { default: koffi } = await import("koffi");
  const library = koffi.load(null); // the C library Node itself is linked with
  return {
    socket: library.func("int socket(int, int, int)"),
    setsockopt: library.func("int setsockopt(int, int, int, const void *, uint32_t)"),
    bind: library.func("int bind(int, const void *, uint32_t)"),
    getsockname: library.func("int getsockname(int, void *, void *)"),
    sendto: library.func("long sendto(int, const void *, size_t, int, const void *, uint32_t)"),
    recv: library.func("long recv(int, void *, size_t, int)"),
    interfaceIndex: library.func("uint32_t if_nametoindex(const char *)"),
    close: library.func("int close(int)"),
    flock: library.func("int flock(int, int)"),
    poll: library.func("int poll(uintptr_t, ulong, int)"),
    recvmmsg: library.func("int recvmmsg(int, uintptr_t, uint32_t, int, uintptr_t)"),
    sendmmsg: library.func("int sendmmsg(int, uintptr_t, uint32_t, int)"),
    eventfd: library.func("int eventfd(uint32_t, int)"),
    read: library.func("long read(int, uintptr_t, size_t)"),
    errno: () => koffi.errno(),
    addressOf: (bytes) => Number(koffi.address(bytes)),
  };
}
