/** A datagram socket without a network: keeps what is sent, says what the test puts into its mouth. */

import { parseIpv4Address } from "#protocol/brand.ts";
import type { DatagramOptions, DatagramSocket, Sender } from "../../server/net/udp.ts";

export interface Sent {
  readonly bytes: Uint8Array;
  readonly port: number;
  readonly address: string;
}

export interface FakeSocket extends DatagramSocket {
  readonly options: DatagramOptions;
  readonly sent: Sent[];
  receive(bytes: Uint8Array, address: string, port: number): void;
  closed(): boolean;
}

export interface FakeNetwork {
  readonly sockets: FakeSocket[];
  open(options: DatagramOptions): Promise<FakeSocket>;
}

/** @param refuse - thrown instead of opening a socket */
export function fakeNetwork(refuse?: Error): FakeNetwork {
  const sockets: FakeSocket[] = [];
  return {
    sockets,
    open: (options) => {
      if (refuse) return Promise.reject(refuse);
      const listeners: ((bytes: Uint8Array, from: Sender) => void)[] = [];
      const sent: Sent[] = [];
      let open = true;
      const socket: FakeSocket = {
        options,
        sent,
        boundToDevice: true,
        port: options.port,
        send: (bytes, port, address) => void sent.push({ bytes, port, address }),
        onMessage: (listener) => void listeners.push(listener),
        close: async () => {
          open = false;
        },
        receive: (bytes, address, port) => {
          for (const listener of listeners) {
            listener(bytes, { address: parseIpv4Address(address), port });
          }
        },
        closed: () => !open,
      };
      sockets.push(socket);
      return Promise.resolve(socket);
    },
  };
}
