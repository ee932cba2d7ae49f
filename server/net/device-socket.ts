/**
 * A UDP socket that belongs to one interface, made with four calls to the C
 * library because `dgram` has no SO_BINDTODEVICE.
 *
 * Such a socket hears only its own interface's packets, and a datagram to
 * 255.255.255.255 leaves by that interface without any route (socket(7)).
 */

/** Linux's numbers (asm-generic/socket.h, bits/socket.h): equal on amd64 and arm64. */
const linux = {
  internet: 2, // AF_INET
  datagram: 2, // SOCK_DGRAM
  closeOnExec: 0o2000000, // SOCK_CLOEXEC
  socketLevel: 1, // SOL_SOCKET
  reuseAddress: 2, // SO_REUSEADDR
  bindToDevice: 25, // SO_BINDTODEVICE
} as const;

export interface DeviceBinding {
  readonly interface: string;
  /** 0.0.0.0 to hear broadcasts and any unicast address of the interface. */
  readonly address: string;
  readonly port: number;
  readonly reuse: boolean;
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

interface CLibrary {
  socket(domain: number, type: number, protocol: number): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, size: number): number;
  bind(fd: number, address: Uint8Array, size: number): number;
  close(fd: number): number;
  errno(): number;
}

let loaded: Promise<CLibrary> | undefined;

/**
 * Opens and binds the socket; the caller owns the descriptor.
 *
 * @throws SystemCallError with the name of the call; any error of koffi when it cannot be loaded.
 */
export async function openDeviceSocket(binding: DeviceBinding): Promise<number> {
  loaded ??= loadCLibrary();
  const c = await loaded;
  const check = (call: string, result: number) => {
    if (result < 0) throw new SystemCallError(call, c.errno());
    return result;
  };
  const fd = check("socket", c.socket(linux.internet, linux.datagram | linux.closeOnExec, 0));
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
  (await loaded)?.close(fd);
}

async function loadCLibrary(): Promise<CLibrary> {
  const { default: koffi } = await import("koffi");
  const library = koffi.load(null); // the C library Node itself is linked with
  return {
    socket: library.func("int socket(int, int, int)"),
    setsockopt: library.func("int setsockopt(int, int, int, const void *, uint32_t)"),
    bind: library.func("int bind(int, const void *, uint32_t)"),
    close: library.func("int close(int)"),
    errno: () => koffi.errno(),
  };
}

/** struct sockaddr_in: family in the machine's order, port and address in network order, 8 zeros. */
function socketAddress(address: string, port: number): Uint8Array {
  const out = Buffer.alloc(16);
  out.writeUInt16LE(linux.internet, 0); // both architectures served are little-endian
  out.writeUInt16BE(port, 2);
  out.set(address.split(".").map(Number), 4);
  return out;
}
