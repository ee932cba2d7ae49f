/**
 * Permanent neighbour (ARP) entries, written over a netlink socket (rtnetlink(7)).
 *
 * They let a reply go by unicast to a client that has no address yet, and keep
 * Raspberry Pi 2 and 3 reachable, which do not answer ARP during TFTP. The kernel
 * answers within the call: an entry costs two system calls and no process.
 *
 *   0        4        6        8        12       16
 *   +--------+--------+--------+--------+--------+
 *   | length | type   | flags  | seq    | port   |  nlmsghdr
 *   +--------+--------+--------+--------+--------+
 *   | AF_INET, 0, 0 0 | index  | state  | 0 0    |  ndmsg
 *   +-----------------+--------+--------+--------+
 *   | 8, NDA_DST      | four octets              |
 *   | 10, NDA_LLADDR  | six octets          | 0 0|
 *   +-----------------+--------------------------+
 */

import { type Ipv4Address, ipv4ToNumber, type MacAddress } from "#protocol/brand.ts";
import { UnavailableError } from "../errors.ts";
import { type CLibrary, linux, loadCLibrary } from "./c-library.ts";

export interface Neighbour {
  readonly address: Ipv4Address;
  readonly mac: MacAddress;
  readonly interfaceName: string;
}

export interface Neighbours {
  /** @throws UnavailableError without CAP_NET_ADMIN, or when the interface is gone. */
  set(neighbour: Neighbour): void;
  /** @throws UnavailableError when one entry or more could not be written; the others are. */
  setAll(neighbours: readonly Neighbour[]): void;
  /** Makes right what an earlier {@link set} said of the address; without one there is nothing to do. */
  correct(neighbour: Neighbour): void;
  /**
   * Makes an ordinary entry of one that was {@link set}: the kernel finds out by itself whether it
   * still holds.
   *
   * @throws UnavailableError as `set` does
   */
  release(neighbour: Neighbour): void;
  /**
   * Removes whatever the kernel knows of the address; nothing is fine too.
   *
   * @throws UnavailableError as `set` does
   */
  remove(address: Ipv4Address, interfaceName: string): void;
  close(): void;
}

/** Sends one message to the kernel; 0, or the error's number as the kernel gives it. */
export interface NeighbourTable {
  write(entry: Uint8Array): number;
  interfaceIndex(name: string): number;
  close(): void;
}

/** Linux's numbers (linux/netlink.h, linux/rtnetlink.h, linux/neighbour.h). */
const newNeighbour = 28; // RTM_NEWNEIGH
const deleteNeighbour = 29; // RTM_DELNEIGH
const deleteFlags = 0x1 | 0x4; // NLM_F_REQUEST, ACK
const noMac = "00:00:00:00:00:00" as MacAddress;
const flags = 0x1 | 0x4 | 0x100 | 0x400; // NLM_F_REQUEST, ACK, REPLACE, CREATE
const permanent = 0x80; // NUD_PERMANENT
const stale = 0x04; // NUD_STALE
const attributes = { destination: 1, linkAddress: 2 } as const; // NDA_DST, NDA_LLADDR
const entrySize = 48;
const errorMessage = 2; // NLMSG_ERROR

/** @throws UnavailableError where the kernel cannot be asked. */
export async function createNeighbours(
  open: () => Promise<NeighbourTable> = openNeighbourTable,
): Promise<Neighbours> {
  const table = await open();
  const refuse = (what: string, errno: number) =>
    new UnavailableError(`${what} could not be written: ${reasonOf(errno)}`);
  const written = new Map<string, MacAddress>();
  const write = (neighbour: Neighbour, state?: number): void => {
    const { address, mac, interfaceName } = neighbour;
    const index = table.interfaceIndex(interfaceName);
    const failure = index === 0 ? noDevice : table.write(encodeEntry(neighbour, index, state));
    if (failure !== 0) {
      throw refuse(`neighbour entry ${address} ${mac} on ${interfaceName}`, failure);
    }
  };
  const set = (neighbour: Neighbour): void => {
    const { address, mac, interfaceName } = neighbour;
    write(neighbour);
    written.set(`${interfaceName} ${address}`, mac);
  };
  return {
    set,
    setAll(neighbours) {
      let first: unknown;
      for (const neighbour of neighbours) {
        try {
          set(neighbour);
        } catch (error) {
          first ??= error;
        }
      }
      if (first !== undefined) throw first;
    },
    correct(neighbour) {
      const { address, mac, interfaceName } = neighbour;
      const before = written.get(`${interfaceName} ${address}`);
      if (before !== undefined && before !== mac) set(neighbour);
    },
    release(neighbour) {
      const { address, mac, interfaceName } = neighbour;
      const key = `${interfaceName} ${address}`;
      if (written.get(key) !== mac) return;
      written.delete(key);
      write(neighbour, stale);
    },
    remove(address, interfaceName) {
      written.delete(`${interfaceName} ${address}`);
      const index = table.interfaceIndex(interfaceName);
      const failure = index === 0 ? noDevice : table.write(encodeRemoval(address, index));
      if (failure !== 0 && failure !== noEntry) {
        throw refuse(`removal of neighbour ${address} on ${interfaceName}`, failure);
      }
    },
    close: () => table.close(),
  };
}

export function encodeEntry(
  { address, mac }: Neighbour,
  interfaceIndex: number,
  state: number = permanent,
): Uint8Array {
  const out = Buffer.alloc(entrySize);
  out.writeUInt32LE(entrySize, 0); // the machine's order; both architectures served are little-endian
  out.writeUInt16LE(newNeighbour, 4);
  out.writeUInt16LE(flags, 6);
  out.writeUInt8(linux.internet, 16);
  out.writeInt32LE(interfaceIndex, 20);
  out.writeUInt16LE(state, 24);
  out.writeUInt16LE(8, 28);
  out.writeUInt16LE(attributes.destination, 30);
  out.writeUInt32BE(ipv4ToNumber(address), 32);
  out.writeUInt16LE(10, 36);
  out.writeUInt16LE(attributes.linkAddress, 38);
  out.set(Uint8Array.fromHex(mac.replaceAll(":", "")), 40);
  return out;
}

/** The same without a hardware address, as RTM_DELNEIGH. */
function encodeRemoval(address: Ipv4Address, interfaceIndex: number): Uint8Array {
  const out = Buffer.from(
    encodeEntry({ address, mac: noMac, interfaceName: "" }, interfaceIndex, 0).subarray(0, 36),
  );
  out.writeUInt32LE(out.length, 0);
  out.writeUInt16LE(deleteNeighbour, 4);
  out.writeUInt16LE(deleteFlags, 6);
  return out;
}

async function openNeighbourTable(): Promise<NeighbourTable> {
  let c: CLibrary;
  try {
    c = await loadCLibrary();
  } catch (cause) {
    throw new UnavailableError("the C library cannot be called (koffi)", { cause });
  }
  const fd = c.socket(linux.netlink, linux.raw | linux.closeOnExec, 0);
  if (fd < 0) throw new UnavailableError(`netlink socket failed: ${reasonOf(c.errno())}`);
  const kernel = Buffer.alloc(12); // struct sockaddr_nl: port 0 is the kernel
  kernel.writeUInt16LE(linux.netlink, 0);
  const answer = Buffer.alloc(512);
  return {
    write(entry) {
      if (c.sendto(fd, entry, entry.length, 0, kernel, kernel.length) < 0) return c.errno();
      // the kernel has answered when sendto returns
      const size = c.recv(fd, answer, answer.length, linux.dontWait);
      if (size < 0) return c.errno();
      return size >= 20 && answer.readUInt16LE(4) === errorMessage ? -answer.readInt32LE(16) : 0;
    },
    interfaceIndex: (name) => c.interfaceIndex(name),
    close: () => void c.close(fd),
  };
}

const noDevice = 19; // ENODEV
const noEntry = 2; // ENOENT
const reasons: ReadonlyMap<number, string> = new Map([
  [1, "not permitted (CAP_NET_ADMIN)"],
  [noDevice, "no such interface"],
  [100, "the interface is down"],
  [105, "the kernel's table is full"],
]);

function reasonOf(errno: number): string {
  return reasons.get(errno) ?? `errno ${errno}`;
}
