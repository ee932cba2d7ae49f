/**
 * The queue: Bull on Redis, which decides when a task may run; at most so many
 * do at once. It holds task ids and nothing else, and none of a task that runs:
 * of those the journal knows. Bull promises at least once, so whoever processes
 * an entry must not mind seeing it twice.
 */

import Bull from "bull";
import { Redis, type RedisOptions } from "ioredis";
import { type Milliseconds, milliseconds, type TaskId } from "#protocol/brand.ts";
import { type Clock, systemClock } from "../clock.ts";
import type { Log } from "../log.ts";

export interface QueueEntry {
  readonly taskId: TaskId;
  /** Epoch when it was queued; the journal decides what it is now. */
  readonly epoch: number;
}

export interface Queue {
  /** Waits while Redis is away: do not await it before an answer. */
  add(entries: readonly QueueEntry[]): Promise<void>;
  /** How many entries wait to run, those among them that Bull has given out and that have no place yet. */
  waiting(): Promise<number>;
  /**
   * Empties the queue, then asks for what belongs in it: in this order, so that
   * nothing added in between is lost.
   */
  rebuild(entries: () => readonly QueueEntry[]): Promise<void>;
  /** Sets who works; called once. An entry leaves the queue when its work begins. `work` never rejects. */
  process(work: (entry: QueueEntry) => Promise<void>): void;
  isConnected(): boolean;
  /** Redis was lost and is back, perhaps empty. Returns the function that ends the subscription. */
  onRestored(listener: () => void): () => void;
  /** Idempotent. */
  close(): Promise<void>;
}

export interface QueueContext {
  /** `redis://host:port/0` or `unix:///path`. */
  readonly redisUrl: string;
  readonly log: Log;
  readonly clock?: Clock;
  /** Tasks that run at the same time. */
  readonly concurrency?: number;
  /** Bull gives an entry out again when whoever has it said nothing for that long. Default: 30 s. */
  readonly lock?: Milliseconds;
  /** Keeps two servers on one Redis apart. */
  readonly name?: string;
}

/** A task waits for its node, it does not compute: ten racks at once. */
export const usualConcurrency = 512;
/** Entries that Bull gives out at once: each costs it a lock in Redis, and with each it looks at the timers of all. */
const inHand = 128;
const usualLock = milliseconds(30_000);
/** Entries that go to Redis as one message. */
const bulk = 1000;
/** A closed queue waits no longer for a Redis that is gone. */
const closeWithin = milliseconds(3000);

export async function openQueue(context: QueueContext): Promise<Queue> {
  const { redisUrl, log, clock = systemClock, lock = usualLock } = context;
  const clients = new Set<Redis>();
  const restored = new Set<() => void>();
  let closing = false;
  let closed: Promise<void> | undefined;
  const whenToConnectAgain = (times: number) => (closing ? null : Math.min(times * 100, 2000));

  const createClient = (_type: string, options?: RedisOptions): Redis => {
    const client = connectRedis(redisUrl, { ...options, retryStrategy: whenToConnectAgain });
    clients.add(client);
    client.on("error", (error) => {
      if (!closing) log.debug({ err: error }, "redis connection");
    });
    return client;
  };
  const bull = new Bull<QueueEntry>(context.name ?? "marcoboot", {
    prefix: "marcoboot",
    createClient,
    defaultJobOptions: { attempts: 1, removeOnComplete: true, removeOnFail: true },
    // A stalled entry is run again for as long as it stalls: the journal knows what is left to do.
    settings: { maxStalledCount: 1000, lockDuration: lock, stalledInterval: lock },
  });
  // Bull names its connection without waiting for it: closed meanwhile, that would end the process.
  Object.assign(bull, { setWorkerName: () => undefined });
  bull.on("error", (error) => {
    if (!closing) log.debug({ err: error }, "queue");
  });

  const places = createPlaces(context.concurrency ?? usualConcurrency);

  let lost = false;
  bull.client.on("close", () => {
    if (!lost && !closing) log.error("redis is away: jobs wait");
    lost = true;
  });
  bull.client.on("ready", () => {
    if (!lost || closing) return;
    lost = false;
    log.info("redis is back");
    for (const listener of [...restored]) listener();
  });

  const add = async (entries: readonly QueueEntry[]): Promise<void> => {
    for (let from = 0; from < entries.length; from += bulk) {
      const part = entries.slice(from, from + bulk);
      await bull.addBulk(part.map(({ taskId, epoch }) => ({ data: { taskId, epoch } })));
    }
  };

  /** One at a time: each pauses the queue. */
  let rebuilt: Promise<void> = Promise.resolve();
  const rebuild = async (entries: () => readonly QueueEntry[]): Promise<void> => {
    try {
      // Throws where its waiting client connects anew by itself at that moment: paused it is all the same.
      await bull.pause(true, true);
      await bull.obliterate({ force: true });
      await add(entries());
    } finally {
      await bull.resume(true);
    }
  };

  const close = async (): Promise<void> => {
    closing = true;
    const patience = new AbortController();
    const ended = bull.close(true).catch(() => undefined);
    await Promise.race([ended, clock.sleep(closeWithin, patience.signal)]);
    patience.abort();
    for (const client of clients) {
      client.disconnect();
      // Bull connects its waiting client anew when a pause or a close cuts it, and may be late.
      client.on("connect", () => client.disconnect());
    }
  };

  return {
    add,
    waiting: async () => (await bull.getWaitingCount()) + places.waiting(),
    rebuild(entries) {
      rebuilt = rebuilt.catch(() => undefined).then(() => rebuild(entries));
      return rebuilt;
    },
    process(work) {
      // Settles only when the queue is closed.
      bull
        .process(inHand, async ({ data }) => {
          await places.enter();
          void work(data).finally(places.leave);
        })
        .catch((error: unknown) => {
          if (!closing) log.error({ err: error }, "queue stopped");
        });
    },
    isConnected: () => bull.client.status === "ready",
    onRestored(listener) {
      restored.add(listener);
      return () => void restored.delete(listener);
    },
    close() {
      closed ??= close();
      return closed;
    },
  };
}

interface Places {
  enter(): Promise<void>;
  leave(): void;
  /** How many wait to enter. */
  waiting(): number;
}

function createPlaces(limit: number): Places {
  let free = limit;
  const line: (() => void)[] = [];
  return {
    async enter() {
      if (free > 0) free -= 1;
      else await new Promise<void>((resolve) => line.push(resolve)); // takes over a place
    },
    leave() {
      const next = line.shift();
      if (next) next();
      else free += 1;
    },
    waiting: () => line.length,
  };
}

function connectRedis(url: string, options: RedisOptions = {}): Redis {
  const { protocol, pathname } = new URL(url);
  // Bull asks for these two: it waits for a Redis that is away instead of failing.
  const needed: RedisOptions = {
    ...options,
    maxRetriesPerRequest: null,
    enableReadyCheck: false,
  };
  return protocol === "unix:"
    ? new Redis({ ...needed, path: decodeURIComponent(pathname) })
    : new Redis(url, needed);
}
