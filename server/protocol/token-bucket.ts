/** Token buckets per source, in bounded memory: how often strangers are listened to. */

import type { Milliseconds } from "./brand.ts";

export interface TokenBuckets {
  /** True, and one token less, when the source may be answered at `now` (monotonic). */
  take(source: string, now: Milliseconds): boolean;
}

interface Bucket {
  readonly tokens: number;
  readonly at: Milliseconds;
}

/**
 * @param options.burst - tokens of a full bucket
 * @param options.perSecond - refill
 * @param options.sources - buckets kept; the longest unused is forgotten first
 */
export function createTokenBuckets(options: {
  readonly burst: number;
  readonly perSecond: number;
  readonly sources: number;
}): TokenBuckets {
  const { burst, perSecond, sources } = options;
  const buckets = new Map<string, Bucket>();
  return {
    take(source, now) {
      const last = buckets.get(source) ?? { tokens: burst, at: now };
      const tokens = Math.min(burst, last.tokens + ((now - last.at) / 1000) * perSecond);
      const allowed = tokens >= 1;
      buckets.delete(source); // a Map keeps the order of insertion: used last comes last
      buckets.set(source, { tokens: allowed ? tokens - 1 : tokens, at: now });
      if (buckets.size > sources) {
        const [oldest] = buckets.keys();
        if (oldest !== undefined) buckets.delete(oldest);
      }
      return allowed;
    },
  };
}
