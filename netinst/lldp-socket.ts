/**
 * Frames that a switch sends to its neighbour: AF_PACKET (packet(7)), by Node's own `node:ffi`, so
 * that netinst needs no program and no library for it. CAP_NET_RAW is needed.
 *
 * The kernel keeps what comes until it is asked for: nobody waits here.
 */

import { readText } from "./settings.ts";

/** Linux's numbers: equal on amd64 and arm64. */
const linux = {
  packetFamily: 17, // AF_PACKET
  packetType: 2, // SOCK_DGRAM: without the Ethernet header
  nonBlocking: 0o4000, // SOCK_NONBLOCK
  closeOnExec: 0o2000000, // SOCK_CLOEXEC
  packetLevel: 263, // SOL_PACKET
  addMembership: 1, // PACKET_ADD_MEMBERSHIP
  multicast: 0, // PACKET_MR_MULTICAST
} as const;

const longestFrame = 1500;

export interface FrameKind {
  /** In the numbers of linux/if_ether.h. */
  readonly protocol: number;
  /** The groups the frames are sent to. */
  readonly groups: readonly string[];
}

export interface FrameReader {
  /** The oldest frame not read yet; undefined: none has come. */
  next(): Uint8Array | undefined;
  close(): void;
}

/** @throws Error naming the call that was refused */
export async function openFrames(
  interfaceName: string,
  { protocol, groups }: FrameKind,
): Promise<FrameReader> {
  const { dlopen } = await import("node:ffi");
  const { functions: c } = dlopen("libc.so.6", {
    socket: { arguments: ["i32", "i32", "i32"], return: "i32" },
    bind: { arguments: ["i32", "buffer", "u32"], return: "i32" },
    setsockopt: { arguments: ["i32", "i32", "i32", "buffer", "u32"], return: "i32" },
    recv: { arguments: ["i32", "buffer", "u64", "i32"], return: "i64" },
    close: { arguments: ["i32"], return: "i32" },
  });
  const index = Number(readText(`/sys/class/net/${interfaceName}/ifindex`) ?? 0);
  const type = linux.packetType | linux.nonBlocking | linux.closeOnExec;
  // protocol 0: nothing of other interfaces comes before it is bound
  const fd = c.socket(linux.packetFamily, type, 0);
  if (fd < 0) throw new Error("socket AF_PACKET was refused");
  const check = (call: string, result: number) => {
    if (result >= 0) return;
    c.close(fd);
    throw new Error(`${call} on ${interfaceName} was refused`);
  };
  for (const group of groups) {
    const request = membership(index, group);
    const set = c.setsockopt(fd, linux.packetLevel, linux.addMembership, request, request.length);
    check(`joining ${group}`, set);
  }
  const address = linkAddress(index, protocol);
  check("bind", c.bind(fd, address, address.length));
  const buffer = Buffer.alloc(longestFrame);
  let isOpen = true;
  return {
    next() {
      const length = isOpen ? Number(c.recv(fd, buffer, BigInt(buffer.length), 0)) : -1;
      return length < 0 ? undefined : Uint8Array.from(buffer.subarray(0, length));
    },
    close() {
      if (isOpen) c.close(fd);
      isOpen = false;
    },
  };
}

/** struct sockaddr_ll: family, protocol (in network order), index, then what bind does not read. */
function linkAddress(index: number, protocol: number): Buffer {
  const address = Buffer.alloc(20);
  address.writeUInt16LE(linux.packetFamily, 0);
  address.writeUInt16BE(protocol, 2);
  address.writeInt32LE(index, 4);
  return address;
}

/** struct packet_mreq: index, type, length of the address, address. */
function membership(index: number, group: string): Buffer {
  const request = Buffer.alloc(16);
  request.writeInt32LE(index, 0);
  request.writeUInt16LE(linux.multicast, 4);
  request.writeUInt16LE(6, 6);
  request.write(group.replaceAll(":", ""), 8, "hex");
  return request;
}
