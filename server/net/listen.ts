/**
 * A TCP listener that belongs to one interface.
 *
 * An address alone does not tie it there: Linux takes a packet for any of its
 * addresses on every interface (RFC 1122 §3.3.4.2, the weak model), so another
 * network could reach a listener that was not meant for it, and be answered.
 */

import type { Server } from "node:net";
import type { Ipv4Address } from "#protocol/brand.ts";
import { ConfigurationError } from "../errors.ts";
import type { Log } from "../log.ts";
import { openDeviceSocket, SystemCallError } from "./device-socket.ts";

export interface ListenOptions {
  /** Undefined: any interface, as for a listener on loopback. */
  readonly interface: string | undefined;
  readonly address: Ipv4Address;
  /** 0: the kernel chooses. */
  readonly port: number;
}

const addressInUse = 98; // EADDRINUSE

/**
 * Resolves with the port.
 *
 * @throws ConfigurationError when the port is taken; the system's error when the address is not ours.
 */
export async function listenOn(server: Server, options: ListenOptions, log: Log): Promise<number> {
  const fd = options.interface === undefined ? undefined : await descriptorFor(options, log);
  await new Promise<void>((resolve, reject) => {
    // Node has closed the descriptor by then: its number may be another's.
    const refused = (error: NodeJS.ErrnoException) => {
      const named = error.code === "EADDRINUSE" || error.code === "EACCES";
      reject(named ? portError(options, error.code === "EADDRINUSE", error) : error);
    };
    const listening = () => {
      server.off("error", refused);
      resolve();
    };
    server.once("error", refused);
    if (fd !== undefined) server.listen({ fd }, listening);
    else server.listen(options.port, options.address, listening);
  });
  const bound = server.address();
  return typeof bound === "object" && bound ? bound.port : options.port;
}

async function descriptorFor(options: ListenOptions, log: Log): Promise<number | undefined> {
  const { interface: name = "", address, port } = options;
  try {
    // Reuse: a connection of the server before us that still fades away must not keep the port.
    return await openDeviceSocket({ interface: name, address, port, reuse: true, stream: true });
  } catch (error) {
    if (error instanceof SystemCallError && error.call === "bind") {
      throw portError(options, error.errno === addressInUse, error);
    }
    log.warn(
      { err: error, interface: name, port },
      "listener is not bound to its interface: other networks that route to its address reach it",
    );
    return undefined;
  }
}

function portError(
  { interface: name, address, port }: ListenOptions,
  taken: boolean,
  cause: unknown,
): ConfigurationError {
  const where = `TCP port ${port} on ${address}${name === undefined ? "" : ` (${name})`}`;
  const what = taken ? "is taken by another program" : "cannot be bound";
  return new ConfigurationError(`${where} ${what}`, { cause });
}
