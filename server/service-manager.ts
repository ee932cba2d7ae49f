/**
 * What systemd is told of a server it has started (sd_notify(3)): that it is ready, that it ends,
 * and, while its event loop turns, that it is alive. A server that hangs is ended and started anew.
 */

import { milliseconds } from "#protocol/brand.ts";
import type { Clock } from "./clock.ts";
import { linux, loadCLibrary } from "./net/c-library.ts";

export interface ServiceManager {
  /** Begins the signs of life, where they are asked for. */
  ready(): void;
  /** No sign of life is awaited from here on. */
  stopping(): void;
}

const nobody: ServiceManager = { ready: () => undefined, stopping: () => undefined };
/** Signs of life in the time within which one is awaited. */
const signs = 3;

/** @param environment - NOTIFY_SOCKET and WATCHDOG_USEC (microseconds); without the first nobody is told */
export async function openServiceManager(
  environment: Readonly<Record<string, string | undefined>>,
  clock: Pick<Clock, "every">,
): Promise<ServiceManager> {
  const { NOTIFY_SOCKET: path, WATCHDOG_USEC: microseconds } = environment;
  if (!path) return nobody;
  const c = await loadCLibrary();
  const fd = c.socket(linux.unix, linux.datagram | linux.closeOnExec, 0);
  if (fd < 0) return nobody;
  const address = unixAddress(path);
  const tell = (state: string) => {
    const bytes = Buffer.from(state);
    // Nobody there any more: nothing that a server could do about it.
    c.sendto(fd, bytes, bytes.length, linux.dontWait, address, address.length);
  };
  let stop: (() => void) | undefined;
  return {
    ready() {
      tell("READY=1");
      const period = Number(microseconds) / 1000 / signs;
      if (period > 0) stop = clock.every(milliseconds(period), () => tell("WATCHDOG=1"));
    },
    stopping() {
      stop?.();
      tell("STOPPING=1");
      c.close(fd);
    },
  };
}

/** struct sockaddr_un; a leading `@` stands for the NUL of an abstract address (sd_notify(3)). */
export function unixAddress(path: string): Uint8Array {
  const name = Buffer.from(path.replace(/^@/, "\0"));
  const address = Buffer.alloc(2 + name.length + (path.startsWith("@") ? 0 : 1));
  address.writeUInt16LE(linux.unix, 0);
  name.copy(address, 2);
  return address;
}
