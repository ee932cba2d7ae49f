/**
 * Datagram sockets for every edge: DHCP (bound to one interface, broadcast),
 * TFTP (unicast), discovery (multicast on an explicit interface).
 *
 * Where SO_BINDTODEVICE cannot be had, the socket is an ordinary one and says so
 * in the log: then it hears all interfaces, and broadcasts follow the routes.
 */

import { createSocket, type Socket } from "node:dgram";
import type { Ipv4Address } from "#protocol/brand.ts";
import { ConfigurationError } from "../errors.ts";
import type { Log } from "../log.ts";
import {
  closeDeviceSocket,
  enlargeBuffers,
  openDeviceSocket,
  SystemCallError,
} from "./device-socket.ts";
import { type Direct, openDirect } from "./direct.ts";

export interface Sender {
  readonly address: Ipv4Address;
  readonly port: number;
}

export interface DatagramSocket {
  /** Fire and forget: a failed send is logged at debug level, as a lost packet would be. */
  send(bytes: Uint8Array, port: number, address: string): void;
  /**
   * @param whenRead - called each time all that had arrived was given to `listener`, as far as that
   *   is known: of a socket for many datagrams (`busy`)
   */
  onMessage(listener: (bytes: Uint8Array, from: Sender) => void, whenRead?: () => void): void;
  close(): Promise<void>;
  /** False: the kernel did not tie the socket to its interface. */
  readonly boundToDevice: boolean;
  /** The port it is bound to; chosen by the kernel when 0 was asked for. */
  readonly port: number;
}

export interface DatagramOptions {
  /** Tie the socket to this interface. */
  readonly interface?: string;
  /** Local address; default: any. */
  readonly address?: string;
  /** 0: the kernel chooses. */
  readonly port: number;
  /** Allow sending to a broadcast address. */
  readonly broadcast?: boolean;
  /** SO_REUSEADDR: another process may share a multicast or broadcast port. */
  readonly reuse?: boolean;
  /** Datagrams may come by the thousand: large buffers, many datagrams per system call. */
  readonly busy?: boolean;
  readonly multicast?: {
    readonly group: string;
    readonly interfaceAddress: Ipv4Address;
    /** Time to live; default 1: it never leaves the segment. */
    readonly hops?: number;
  };
}

const addressInUse = 98; // EADDRINUSE

/** @throws ConfigurationError when the port is taken; the system's error when the address is not ours. */
export async function openDatagramSocket(
  options: DatagramOptions,
  log: Log,
): Promise<DatagramSocket> {
  const fd = await deviceDescriptor(options, log);
  const socket = createSocket({ type: "udp4", reuseAddr: options.reuse ?? false });
  try {
    await bind(socket, options, fd);
    if (options.broadcast) socket.setBroadcast(true);
    if (options.multicast) joinGroup(socket, options.multicast);
  } catch (error) {
    await new Promise<void>((resolve) => socket.close(resolve));
    throw error;
  }
  const isBusy = options.busy === true && fd !== undefined;
  if (isBusy) await enlargeBuffers(fd);
  return wrap(
    socket,
    { boundToDevice: fd !== undefined, direct: isBusy ? await openDirect(fd) : undefined },
    log,
  );
}

/**
 * A descriptor tied to the interface, for a caller that does without `dgram`.
 *
 * @returns undefined where it cannot be tied; the log says so
 * @throws ConfigurationError when the port is taken
 */
export function openDeviceDescriptor(
  options: DatagramOptions & { readonly interface: string },
  log: Log,
): Promise<number | undefined> {
  return deviceDescriptor(options, log);
}

async function deviceDescriptor(options: DatagramOptions, log: Log): Promise<number | undefined> {
  if (options.interface === undefined) return undefined;
  try {
    return await openDeviceSocket({
      interface: options.interface,
      address: options.address ?? "0.0.0.0",
      port: options.port,
      reuse: options.reuse ?? false,
    });
  } catch (error) {
    if (error instanceof SystemCallError && error.call === "bind") {
      throw portError(options, error.errno === addressInUse, error);
    }
    if (options.broadcast) {
      throw new ConfigurationError(
        `UDP port ${options.port} cannot be tied to interface ${options.interface}: it would hear and answer other networks too`,
        { cause: error },
      );
    }
    log.warn(
      { err: error, interface: options.interface, port: options.port },
      "socket is not bound to its interface: it hears all interfaces, and broadcasts need a route",
    );
    return undefined;
  }
}

function portError(options: DatagramOptions, taken: boolean, cause: unknown): ConfigurationError {
  const where = `UDP port ${options.port} on ${options.interface ?? options.address ?? "any address"}`;
  return new ConfigurationError(
    taken ? `${where} is taken by another program` : `${where} cannot be bound`,
    { cause },
  );
}

function bind(socket: Socket, options: DatagramOptions, fd: number | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("error", (error: NodeJS.ErrnoException) => {
      if (fd !== undefined) void closeDeviceSocket(fd);
      reject(
        error.code === "EADDRINUSE" || error.code === "EACCES"
          ? portError(options, error.code === "EADDRINUSE", error)
          : error,
      );
    });
    const bound = () => {
      socket.removeAllListeners("error");
      resolve();
    };
    if (fd !== undefined) socket.bind({ fd, exclusive: true }, bound);
    else {
      socket.bind(
        { port: options.port, address: options.address ?? "0.0.0.0", exclusive: true },
        bound,
      );
    }
  });
}

function joinGroup(socket: Socket, multicast: NonNullable<DatagramOptions["multicast"]>): void {
  socket.addMembership(multicast.group, multicast.interfaceAddress);
  socket.setMulticastInterface(multicast.interfaceAddress);
  socket.setMulticastTTL(multicast.hops ?? 1);
}

function wrap(
  socket: Socket,
  {
    boundToDevice,
    direct,
  }: { readonly boundToDevice: boolean; readonly direct: Direct | undefined },
  log: Log,
): DatagramSocket {
  let open = true;
  socket.on("error", (error) => log.warn({ err: error }, "datagram socket failed"));
  return {
    boundToDevice,
    port: socket.address().port,
    send(bytes, port, address) {
      if (!open) return;
      if (direct) {
        direct.send(bytes, port, address);
        return;
      }
      socket.send(bytes, port, address, (error) => {
        if (error) log.debug({ err: error, address, port }, "datagram not sent");
      });
    },
    onMessage(listener, whenRead) {
      socket.on("message", (bytes, from) => {
        if (from.port === 0) return; // nobody can be answered there, and `send` would throw
        listener(bytes, { address: from.address as Ipv4Address, port: from.port });
        if (!open || !direct) return;
        direct.flush(); // the answer first, then whether there is more
        if (direct.drain(listener)) whenRead?.();
      });
    },
    close() {
      if (!open) return Promise.resolve();
      open = false;
      direct?.flush(); // the descriptor may be another's by the end of this turn
      return new Promise((resolve) => socket.close(() => resolve()));
    },
  };
}
