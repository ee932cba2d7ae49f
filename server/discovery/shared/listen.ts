/**
 * The answerer's edge: hears every mesh of this host on its links, and what is sent to its own
 * addresses, and answers from these.
 */

import type { Milliseconds } from "#protocol/brand.ts";
import { type KeepContext, type Kept, keepOnLinks } from "./keep.ts";
import type { DiscoveryOutcome, Responder } from "./responder.ts";
import { type Link, type OpenSocket, openSocket, type Socket } from "./sockets.ts";

export interface ListenContext extends Pick<KeepContext, "every" | "onTrouble"> {
  readonly responder: Responder;
  /** As they are at the moment. */
  readonly links: () => readonly Link[];
  /** Meshes, as IPv4 groups, as they are at the moment. */
  readonly groups: () => readonly string[];
  readonly port: number;
  readonly monotonic: () => Milliseconds;
  /** Answers to a group are spread over the time the asker gives: thousands may be asked. Default false. */
  readonly isOneOfMany?: boolean;
  readonly open?: OpenSocket;
  readonly onQuestion?: (outcome: DiscoveryOutcome, from: string, port: number) => void;
}

/**
 * Resolves when the links there are now have been tried.
 *
 * @throws the system's error when there are links, and none of them can be heard
 */
export async function listen(context: ListenContext): Promise<Kept> {
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
export function keepListening(context: ListenContext): Kept & { readonly begun: Promise<void> } {
  const { every, onTrouble, groups } = context;
  return keepOnLinks({
    every,
    links: () => new Map(context.links().map((link) => [nameOf(link, groups()), link])),
    open: (link) => serve(context, link, groups()),
    ...(onTrouble && { onTrouble }),
  });
}

/** Of a link as it is served: another address, or another mesh, is another. */
function nameOf({ interface: name, address }: Link, groups: readonly string[]): string {
  return [name, address, ...groups].join(" ");
}

/** Where the asker gives no time. */
const usualSpreadMs = 100;

export function answerDelay(withinMs: number = usualSpreadMs): number {
  return Math.random() * withinMs;
}

/** One socket that answers, and one for each mesh. */
async function serve(context: ListenContext, link: Link, groups: readonly string[]): Promise<Kept> {
  const { responder, port, open = openSocket, monotonic, isOneOfMany = false } = context;
  const sockets: Socket[] = [];
  const close = async () => void (await Promise.all(sockets.map((socket) => socket.close())));
  try {
    const own = await open(link, { port });
    sockets.push(own);
    const attend = (socket: Socket, group?: string) =>
      socket.onMessage((bytes, from) => {
        const isNear = link.reaches(from.address);
        const heard = { bytes, from: from.address, isNear, address: link.address };
        const { outcome, answer, within } = responder.hear(
          group === undefined ? heard : { ...heard, group },
          monotonic(),
        );
        context.onQuestion?.(outcome, from.address, from.port);
        if (!answer) return;
        const send = () => own.send(answer, from.port, from.address);
        if (isOneOfMany && group !== undefined) setTimeout(send, answerDelay(within)).unref();
        else send();
      });
    attend(own);
    for (const group of groups) {
      const socket = await open(link, { port, group });
      sockets.push(socket);
      attend(socket, group);
    }
    return { close };
  } catch (error) {
    await close();
    throw error;
  }
}
