/**
 * The answerer's edge: hears every mesh of this host on its links, and what is sent to its own
 * addresses, and answers from these.
 *
 * Links are looked at again every few seconds: an address that came late, or changed, is served
 * then, and a socket that could not be opened is tried again.
 */

import type { Milliseconds } from "#protocol/brand.ts";
import type { DiscoveryOutcome, Responder } from "./responder.ts";
import { type Link, type OpenSocket, openSocket, type Socket } from "./sockets.ts";

export interface ListenContext {
  readonly responder: Responder;
  /** As they are at the moment. */
  readonly links: () => readonly Link[];
  /** Meshes, as IPv4 groups. */
  readonly groups: readonly string[];
  readonly port: number;
  readonly monotonic: () => Milliseconds;
  /** Calls `work` again and again until the returned function is called. */
  readonly every: (period: Milliseconds, work: () => void) => () => void;
  /** Milliseconds an answer to a group is held back, so that a thousand nodes do not answer at once. */
  readonly spread?: () => number;
  readonly open?: OpenSocket;
  readonly onQuestion?: (outcome: DiscoveryOutcome, from: string, port: number) => void;
  readonly onTrouble?: (link: Link, error: unknown) => void;
}

export interface Listening {
  close(): Promise<void>;
}

const lookAgain = 5000 as Milliseconds;

/** @throws the system's error when none of the links there are can be heard. */
export async function listen(context: ListenContext): Promise<Listening> {
  const served = new Map<string, readonly Socket[]>();
  let isClosed = false;
  let looking = Promise.resolve();

  const look = async (): Promise<unknown> => {
    let trouble: unknown;
    const links = context.links();
    for (const name of served.keys()) {
      if (!links.some((link) => nameOf(link) === name)) await drop(name);
    }
    for (const link of links) {
      if (isClosed || served.has(nameOf(link))) continue;
      try {
        served.set(nameOf(link), await serve(context, link));
      } catch (error) {
        trouble = error;
        context.onTrouble?.(link, error);
      }
    }
    return served.size === 0 ? trouble : undefined;
  };
  const drop = async (name: string) => {
    const sockets = served.get(name) ?? [];
    served.delete(name);
    await Promise.all(sockets.map((socket) => socket.close()));
  };

  const trouble = await look();
  if (trouble !== undefined) throw trouble;
  const stop = context.every(lookAgain, () => {
    looking = looking.then(async () => void (await look()));
  });
  return {
    async close() {
      isClosed = true;
      stop();
      await looking;
      await Promise.all([...served.keys()].map(drop));
    },
  };
}

function nameOf({ interface: name, address }: Link): string {
  return `${name} ${address}`;
}

/** One socket that answers, and one for each mesh. */
async function serve(context: ListenContext, link: Link): Promise<readonly Socket[]> {
  const { responder, groups, port, open = openSocket, monotonic, spread } = context;
  const sockets: Socket[] = [];
  try {
    const own = await open(link, { port });
    sockets.push(own);
    const attend = (socket: Socket, group?: string) =>
      socket.onMessage((bytes, from) => {
        const isNear = link.reaches(from.address);
        const heard = { bytes, from: from.address, isNear, address: link.address };
        const { outcome, answer } = responder.hear(
          group === undefined ? heard : { ...heard, group },
          monotonic(),
        );
        context.onQuestion?.(outcome, from.address, from.port);
        if (!answer) return;
        const send = () => own.send(answer, from.port, from.address);
        if (spread && group !== undefined) setTimeout(send, spread()).unref();
        else send();
      });
    attend(own);
    for (const group of groups) {
      const socket = await open(link, { port, group });
      sockets.push(socket);
      attend(socket, group);
    }
    return sockets;
  } catch (error) {
    await Promise.all(sockets.map((socket) => socket.close()));
    throw error;
  }
}
