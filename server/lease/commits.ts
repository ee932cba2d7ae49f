/**
 * Group commit: changes are staged in order, and whoever must be sure of one waits
 * until it is on stable storage. While one write is under way, everything staged
 * meanwhile gathers for the next; nobody waits for more than two.
 */

import {
  after,
  type Instant,
  type Ipv4Address,
  type Seconds,
  toMilliseconds,
} from "#protocol/brand.ts";
import type { Clock } from "../clock.ts";
import type { LeaseFile } from "./lease-file.ts";
import type { LeaseRecord } from "./lease-format.ts";

type Promised = Extract<LeaseRecord, { state: "promised" }>;

export interface Commits {
  /** Takes a record the file holds already. */
  known(record: LeaseRecord): void;
  /** Puts the record into the next write. @returns the number to wait for */
  stage(record: LeaseRecord): number;
  /**
   * Stages a promise until `needed` and `slack` longer, unless the file has one that is long
   * enough. @returns the number to wait for
   */
  promise(record: Omit<Promised, "state" | "until">, needed: Instant, slack: Seconds): number;
  /** Runs `work` once the write of that number is done; at once when it is. */
  afterwards(commit: number, work: () => void): void;
  /**
   * Resolves when the write of that number, or every one so far, is on stable storage.
   *
   * @throws UnavailableError when the disk refuses; everything stays staged.
   */
  committed(commit?: number): Promise<void>;
  /** Whether {@link committed} has nothing to wait for. */
  isCommitted(commit: number): boolean;
  /** Writes what nobody waits for, and all of it where the file was removed. Never fails: whoever waits next is told. */
  flush(): void;
}

/** What the file says of an address, or will when the write of that number is done. */
interface Filed {
  readonly record: LeaseRecord;
  readonly commit: number;
}

/** @param file - absent: nothing is written, and nobody waits */
export function createCommits({
  file,
  clock,
}: {
  readonly file: LeaseFile | undefined;
  readonly clock: Clock;
}): Commits {
  const filed = new Map<Ipv4Address, Filed>();
  let staged: readonly LeaseRecord[] = [];
  let gathering: LeaseRecord[] = [];
  /** Numbers count records: the last staged, the last of the write under way, the last written. */
  let last = 0;
  let underWay = 0;
  let written = 0;
  let running: Promise<void> | undefined;
  let following: Promise<void> | undefined;
  let waiting: { readonly commit: number; readonly work: () => void }[] = [];

  function* live(): Iterable<LeaseRecord> {
    const now = clock.now();
    for (const { record } of filed.values()) {
      if (record.state !== "free" && record.until > now) yield record;
    }
  }
  const runAfterwards = (): void => {
    const due = waiting.filter(({ commit }) => commit <= written);
    waiting = waiting.filter(({ commit }) => commit > written);
    for (const { work } of due) work();
  };
  const write = async (to: LeaseFile): Promise<void> => {
    // A write that failed is tried again with what came since.
    staged = staged.length === 0 ? gathering : [...staged, ...gathering];
    gathering = [];
    underWay = last;
    try {
      await to.append(staged, live);
      staged = [];
      written = underWay;
    } finally {
      running = undefined;
    }
    runAfterwards();
  };
  /** The write that takes everything staged in this turn: at its end, or after the one under way. */
  const writeNext = (to: LeaseFile): Promise<void> => {
    following ??= (running ?? Promise.resolve())
      .catch(() => undefined) // those who waited for it are told
      .then(() => {
        following = undefined;
        running = write(to);
        return running;
      });
    return following;
  };
  const isCommitted = (commit: number): boolean => !file || commit <= written;
  const stage = (record: LeaseRecord): number => {
    if (!file) return 0;
    if (record.state === "free") {
      if (!filed.delete(record.address)) return 0;
      gathering.push(record);
      return ++last;
    }
    gathering.push(record);
    filed.set(record.address, { record, commit: ++last });
    return last;
  };

  return {
    known: (record) => void filed.set(record.address, { record, commit: 0 }),
    stage,
    promise(record, needed, slack) {
      const before = filed.get(record.address);
      if (before && before.record.state === "promised") {
        const { mac, clientId, until } = before.record;
        const isSame = mac === record.mac && clientId === record.clientId;
        if (isSame && until >= needed) return before.commit;
      }
      return stage({ state: "promised", ...record, until: after(needed, toMilliseconds(slack)) });
    },
    afterwards(commit, work) {
      if (commit <= written) work();
      else waiting.push({ commit, work });
    },
    committed(commit = last) {
      if (!file || isCommitted(commit)) return Promise.resolve();
      return running !== undefined && commit <= underWay ? running : writeNext(file);
    },
    isCommitted,
    flush() {
      if (!file || (!file.isLost() && written === last)) return;
      writeNext(file).catch(() => undefined); // tried again
    },
  };
}
