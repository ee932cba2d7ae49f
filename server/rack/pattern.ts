/**
 * Text with words in braces that stand for a place in the rack:
 *
 *   {rack} {stack} {slot}   names
 *   {n}                     number of the slot in the rack, from 1; of the stack, in what is a stack's
 *   {n+16} {n-1}            counted from elsewhere
 *   {n:02} {slot:03}        with leading zeros to so many digits
 *
 * Any other word in braces stays as it is: it may be for somebody else.
 */

export interface Place {
  readonly rack: string;
  readonly stack: string;
  /** Undefined for what belongs to the whole stack. */
  readonly slot?: string;
  readonly n: number;
}

export const defaultHostnames = "{rack}-{stack}-{slot}";

const words = /\{(?:(rack|stack|slot)|n([+-]\d{1,6})?)(?::0([1-9]))?\}/g;

export function fill(pattern: string, place: Place): string {
  return pattern.replaceAll(words, (whole, name, offset, digits) => {
    const text =
      name === undefined
        ? String(place.n + Number(offset ?? 0))
        : place[name as "rack" | "stack" | "slot"];
    return text === undefined ? whole : text.padStart(Number(digits ?? 0), "0");
  });
}
