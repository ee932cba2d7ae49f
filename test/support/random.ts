/** Numbers that look random and are the same again for the same seed. */

export interface Random {
  /** 0 <= result < limit */
  below(limit: number): number;
}

/** Marsaglia's xorshift with 32 bits: enough to be different, and the same again. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0 || 1;
  return {
    below(limit) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      state >>>= 0;
      return state % limit;
    },
  };
}
