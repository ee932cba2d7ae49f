/** Numbers of command lines. */

import { refuse } from "../usage.ts";

/** Ends the process with 2 when `text` is anything else. */
export function wholeNumber(
  name: string,
  text: string,
  least: number,
  most = Number.MAX_SAFE_INTEGER,
): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  const limit = most === Number.MAX_SAFE_INTEGER ? `from ${least} on` : `from ${least} to ${most}`;
  return refuse(`--${name} ${text} is no whole number ${limit}`);
}
