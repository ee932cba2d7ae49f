/**
 * A socket that belongs to one interface, made with four calls to the C
 * library because neither `dgram` nor `net` has SO_BINDTODEVICE.
 *
 * Such a socket hears only its own interface's packets, and a datagram to
 * 255.255.255.255 leaves by that interface without any route (socket(7)).
 */

import { type CLibrary, linux, loadCLibrary } from "./c-library.ts";

export interface DeviceBinding {
  readonly interface: string;
  /** 0.0.0.0 to hear broadcasts and any unicast address of the interface. */
  readonly address: string;
  readonly port: number;
  readonly reuse: boolean;
  /** TCP, not UDP: for a listener. */
  readonly stream?: boolean;
}

/** A call of the C library said no; `errno` as the kernel numbers it. */
export class SystemCallError extends Error {
  readonly call: string;
  readonly errno: number;
  constructor(call: string, errno: number) {
    super(`${call} failed with errno ${errno}`);
    this.call = call;
    this.errno = errno;
  }
}

/**
 * Opens and binds the socket; the caller owns the descriptor.
 *
 * @throws SystemCallError with the name of the call; any error of koffi when it cannot be loaded.
 */
export async function openDeviceSocket(binding: DeviceBinding): Promise<number> {
  const c = await loadCLibrary();
  const check = (call: string, result: number) => checked(c, call, result);
  const type = binding.stream ? linux.stream : linux.datagram;
  const fd = check("socket", c.socket(linux.internet, type | linux.closeOnExec, 0));
  try {
    const device = Buffer.from(`${binding.interface}\0`);
    check(
      "setsockopt SO_BINDTODEVICE",
      c.setsockopt(fd, linux.socketLevel, linux.bindToDevice, device, device.length),
    );
    if (binding.reuse) {
      const one = Uint8Array.from(new Uint8Array(Int32Array.of(1).buffer));
      check(
        "setsockopt SO_REUSEADDR",
        c.setsockopt(fd, linux.socketLevel, linux.reuseAddress, one, 4),
      );
    }
    const address = socketAddress(binding.address, binding.port);
    check("bind", c.bind(fd, address, address.length));
    return fd;
  } catch (error) {
    c.close(fd);
    throw error;
  }
}

/** For a descriptor that nobody took over. */
export async function closeDeviceSocket(fd: number): Promise<void> {
  (await loadCLibrary()).close(fd);
}

/** The local port, also when the kernel chose it. */
export async function devicePort(fd: number): Promise<number> {
  const c = await loadCLibrary();
  const address = Buffer.alloc(addressOctets);
  const size = Buffer.from(Uint32Array.of(addressOctets).buffer);
  checked(c, "getsockname", c.getsockname(fd, address, size));
  return address.readUInt16BE(2);
}

const bufferOctets = 4 * 1024 * 1024;

/**
 * Room for the datagrams of a whole rack, and a send that waits for a slow
 * interface, but not for ever. The kernel gives less without CAP_NET_ADMIN.
 */
export async function enlargeBuffers(fd: number): Promise<void> {
  const c = await loadCLibrary();
  const size = Buffer.from(Int32Array.of(bufferOctets).buffer);
  const set = (name: number) => c.setsockopt(fd, linux.socketLevel, name, size, 4) === 0;
  void (set(linux.sendBufferForce) || set(linux.sendBuffer));
  void (set(linux.receiveBufferForce) || set(linux.receiveBuffer));
  const limit = Buffer.from(BigInt64Array.of(0n, 200_000n).buffer); // struct timeval: 200 ms
  c.setsockopt(fd, linux.socketLevel, linux.sendTimeout, limit, limit.length);
}

const addressOctets = 16;

function checked(c: CLibrary, call: string, result: number): number {
  if (result < 0) throw new SystemCallError(call, c.errno());
  return result;
}

/** struct sockaddr_in: family in the machine's order, port and address in network order, 8 zeros. */
function socketAddress(address: string, port: number): Uint8Array {
  const out = Buffer.alloc(addressOctets);
  out.writeUInt16LE(linux.internet, 0); // both architectures served are little-endian
  out.writeUInt16BE(port, 2);
  out.set(address.split(".").map(Number), 4);
  return out;
}
