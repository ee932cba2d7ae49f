/** One question as people ask it: `<keys directory> <words of discover …>`. Prints how many were found, and in how many ms. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { parseSearch, search, searchOptions } from "../../server/discovery/shared/search.ts";

const [keys = "", ...args] = process.argv.slice(2);
const { values, positionals } = parseArgs({ args, options: searchOptions, allowPositionals: true });
const authority = readFileSync(join(keys, "authority.crt"), "utf8");
const begun = performance.now();
const query = await search(
  parseSearch(positionals[0], values),
  { authority },
  {},
  new AbortController().signal,
);
const took = Math.round(performance.now() - begun);
process.stdout.write(`${query.found().length} in ${took} ms, ${query.refused().length} refused\n`);
