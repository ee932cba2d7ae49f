/** Choices that are the same again for the same seed (Marsaglia's xorshift with 32 bits). */

export interface Random {
  /** 0 <= result < 1 */
  next(): number;
  /** Takes one of the list out of it. @throws RangeError when it is empty */
  draw<Item>(from: Item[]): Item;
}

export function createRandom(seed: number): Random {
  let state = (seed ^ 0x9e3779b9) >>> 0 || 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
  for (let count = 0; count < 8; count++) next(); // small seeds begin alike
  return {
    next,
    draw(from) {
      const [drawn] = from.splice(Math.floor(next() * from.length), 1);
      if (drawn === undefined) throw new RangeError("nothing is left to draw from");
      return drawn;
    },
  };
}
