/**
 * `Idempotency-Key` on POST: a repeated request gets the first answer again.
 *
 * Kept in memory: the newest 1000 keys for 24 hours, forgotten at a restart.
 * After a restart a repeated key makes a second job; the journal knows both.
 */

import { createHash } from "node:crypto";
import type { Clock } from "../clock.ts";
import { ConflictError, InvalidInputError } from "../errors.ts";

const maxKeys = 1000;
const lifeMs = 24 * 3600 * 1000;

export interface Idempotency {
  /**
   * @param key - of one user; `undefined` runs `work` always
   * @throws InvalidInputError when the key came with another body, ConflictError while the first still runs.
   */
  once<T>(key: string | undefined, body: unknown, work: () => T | Promise<T>): Promise<T>;
}

export function createIdempotency(clock: Clock): Idempotency {
  const answers = new Map<
    string,
    { digest: string; at: number; done: boolean; answer: Promise<unknown> }
  >();
  return {
    async once<T>(key: string | undefined, body: unknown, work: () => T | Promise<T>) {
      if (key === undefined) return work();
      const digest = createHash("sha256").update(JSON.stringify(body)).digest("hex");
      const known = answers.get(key);
      if (known && clock.monotonic() - known.at < lifeMs) {
        if (known.digest !== digest) {
          throw new InvalidInputError("idempotency key was used with another body");
        }
        if (!known.done) throw new ConflictError("the first request with this key still runs");
        return known.answer as Promise<T>;
      }
      const answer = Promise.resolve().then(work);
      const entry = { digest, at: clock.monotonic(), done: false, answer };
      answers.set(key, entry);
      for (const oldest of answers.keys()) {
        if (answers.size <= maxKeys) break;
        answers.delete(oldest);
      }
      try {
        return await answer;
      } catch (error) {
        answers.delete(key); // a refused request may be corrected and sent again
        throw error;
      } finally {
        entry.done = true;
      }
    },
  };
}
