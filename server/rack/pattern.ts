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

/**
 * A driver's setting, its words filled in; of `{ each: [18, 25] }` the value whose turn it is.
 *
 * @param type - of the driver's schema: "{n}" is a number where one is wanted
 * @throws RangeError when `each` has too few
 */
export function fillSetting(
  name: string,
  value: unknown,
  place: Place,
  type: string | undefined,
): unknown {
  const each = (value as { readonly each?: unknown } | null)?.each;
  if (Array.isArray(each)) {
    if (place.n <= each.length) return fillSetting(name, each[place.n - 1], place, type);
    throw new RangeError(
      `${name}: each has ${each.length} values, and number ${place.n} needs one`,
    );
  }
  if (Array.isArray(value)) return value.map((one) => fillSetting(name, one, place, undefined));
  const filled = typeof value === "string" ? fill(value, place) : value;
  if (type === "string" && typeof filled === "number") return String(filled);
  const isNumber = (type === "integer" || type === "number") && typeof filled === "string";
  return isNumber && /^-?\d+$/.test(filled) ? Number(filled) : filled;
}
