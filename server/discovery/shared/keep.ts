/**
 * Keeps something open on every link there is: links are looked at again every few seconds, so
 * that an address that came late, or changed, is served then, and what could not be opened is
 * tried again.
 */

import type { Milliseconds } from "#protocol/brand.ts";
import { isTooEarly, type Link } from "./sockets.ts";

export interface Kept {
  close(): Promise<void>;
}

export interface KeepContext {
  /** As they are at the moment, by a name that changes when it must be opened anew. */
  readonly links: () => ReadonlyMap<string, Link>;
  readonly open: (link: Link) => Promise<Kept>;
  /** Calls `work` again and again until the returned function is called. */
  readonly every: (period: Milliseconds, work: () => void) => () => void;
  readonly onTrouble?: (link: Link, error: unknown) => void;
}

const lookAgain = 5000 as Milliseconds;

/** `begun` rejects when there are links, and nothing could be opened on any at the first look. */
export function keepOnLinks(context: KeepContext): Kept & { readonly begun: Promise<void> } {
  const kept = new Map<string, Kept>();
  let isClosed = false;

  const look = async (): Promise<unknown> => {
    let trouble: unknown;
    const links = context.links();
    for (const name of kept.keys()) if (!links.has(name)) await drop(name);
    for (const [name, link] of links) {
      if (isClosed || kept.has(name)) continue;
      try {
        kept.set(name, await context.open(link));
      } catch (error) {
        trouble = error;
        if (!isTooEarly(link, error)) context.onTrouble?.(link, error);
      }
    }
    return kept.size === 0 ? trouble : undefined;
  };
  const drop = async (name: string) => {
    const one = kept.get(name);
    kept.delete(name);
    await one?.close();
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
      await Promise.all([...kept.keys()].map(drop));
    },
  };
}
