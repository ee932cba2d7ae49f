/** Any file, for the job kind `copy`: never guessed, taken as it is, never installed. */

import type { Format } from "./format.ts";

export const file: Format = {
  headBytes: 0,
  matches: () => false,
  startCheck: () => ({ write: () => undefined, end: () => undefined }),
};
