/**
 * Bounds what the kernel takes at once for each connection of a TCP listener.
 *
 * Left alone it takes megabytes for every reader, fast or not, and copies them
 * while everybody else waits. Set on the listening socket, accepted ones inherit
 * it (tcp(7)). Without the C library connections keep the system's size.
 */

import type { Server } from "node:net";
import { linux, loadCLibrary } from "./c-library.ts";

/** @returns false when the size could not be set; the listener works all the same */
export async function limitSendBuffers(server: Server, octets: number): Promise<boolean> {
  // no public name: the handle is how Node itself keeps the descriptor
  const descriptor = (server as unknown as { _handle?: { fd?: number } })._handle?.fd;
  if (descriptor === undefined || descriptor < 0) return false;
  try {
    const c = await loadCLibrary();
    const value = new Uint8Array(Int32Array.of(octets).buffer);
    return c.setsockopt(descriptor, linux.socketLevel, linux.sendBuffer, value, 4) === 0;
  } catch {
    return false; // no koffi for this machine
  }
}
