/**
 * The answerer's edge: hears every mesh of this host on its links, and what is sent to its own
 * addresses, and answers from these.
 *
 * Links are looked at again every few seconds: an address that came late, or changed, is served
 * then, and a socket that could not be opened is tried again.
 */

import type { Milliseconds } from "#protocol/brand.ts";
import type { DiscoveryOutcome, Responder } from "./responder.ts";
import { isTooEarly, type Link, type OpenSocket, openSocket, type Socket } from "./sockets.ts";

export interface ListenContext {
  readonly responder: Responder;
  /** As they are at the moment. */
  readonly links: () => readonly Link[];
  /** Meshes, as IPv4 groups, as they are at the moment. */
  readonly groups: () => readonly string[];
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

/**
 * Resolves when the links there are now have been tried.
 *
 * @throws the system's error when there are links, and none of them can be heard
 */
export async function listen(context: ListenContext): Promise<Listening> {
  const listening = keepListening(context);
  try {
    await listening.begun;
  } catch (error) {
    await listening.close();
    throw error;
  }
  return listening;
}

/** The same for who goes on without; `begun` rejects where {@link listen} throws. */
export function keepListening(
  context: ListenContext,
): Listening & { readonly begun: Promise<void> } {
  const served = new Map<string, readonly Socket[]>();
  let isClosed = false;

  const look = async (): Promise<unknown> => {
    let trouble: unknown;
    const groups = context.groups();
    const links = new Map(context.links().map((link) => [nameOf(link, groups), link]));
    for (const name of served.keys()) if (!links.has(name)) await drop(name);
    for (const [name, link] of links) {
      if (isClosed || served.has(name)) continue;
      try {
        served.set(name, await serve(context, link, groups));
      } catch (error) {
        trouble = error;
        if (!isTooEarly(link, error)) context.onTrouble?.(link, error);
      }
    }
    return served.size === 0 ? trouble : undefined;
  };
  const drop = async (name: string) => {
    const sockets = served.get(name) ?? [];
    served.delete(name);
    await Promise.all(sockets.map((socket) => socket.close()));
  };

  let looking = look();
  const begun = looking.then((trouble) => {
    if (trouble !== undefined) throw trouble;
  });
  begun.catch(() => undefined); // whoever waits for it hears of it
  const stop = context.every(lookAgain, () => {
    looking = looking.then(look);
  });
  return {
    begun,
    async close() {
      isClosed = true;
      stop();
      await looking;
      await Promise.all([...served.keys()].map(drop));
    },
  };
}

/** Of a link as it is served: another address, or another mesh, is another. */
function nameOf({ interface: name, address }: Link, groups: readonly string[]): string {
  return [name, address, ...groups].join(" ");
}

/** One socket that answers, and one for each mesh. */
async function serve(
  context: ListenContext,
  link: Link,
  groups: readonly string[],
): Promise<readonly Socket[]> {
  const { responder, port, open = openSocket, monotonic, spread } = context;
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
