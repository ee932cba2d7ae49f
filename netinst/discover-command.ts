/**
 * `discover [SERVICE]` of the agent, for people and programs on a node:
 *
 *   /var/lib/marcoboot/agent/run discover deployer --param arch=arm64 --json
 *
 * One answerer a line, tab-separated: address, who, what it says.
 */

import { parseArgs } from "node:util";
import {
  offerText,
  parseSearch,
  refusedText,
  search,
  searchOptions,
} from "../server/discovery/shared/search.ts";
import type { Trust } from "../server/discovery/shared/trust.ts";
import { authorityFile } from "./polo.ts";
import { identityDefault, readSite, readText } from "./settings.ts";
import { pinKey } from "./trust.ts";

export interface Streams {
  out(line: string): void;
  err(line: string): void;
}

/** @returns the exit code: 0, 2 for wrong words, 5 for nobody. @throws AgentError without a site file */
export async function discoverCommand(
  args: readonly string[],
  streams: Streams,
  signal: AbortSignal,
): Promise<number> {
  try {
    return await discover(args, streams, signal);
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof TypeError)) throw error;
    streams.err(`error: ${error.message}`);
    return 2;
  }
}

async function discover(
  args: readonly string[],
  { out, err }: Streams,
  signal: AbortSignal,
): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { ...searchOptions, json: { type: "boolean" }, "identity-dir": { type: "string" } },
    allowPositionals: true,
  });
  const directory = values["identity-dir"] ?? identityDefault;
  const wanted = parseSearch(positionals[0], values);
  const site = readSite(`${directory}/site.json`);
  const authority = readText(authorityFile(directory));
  const query = await search(
    { group: site.discovery.group, ...wanted },
    { site: pinKey(site.serverKey), ...(authority !== undefined && { authority }) },
    { port: site.discovery.port, onTrouble: err },
    signal,
  );
  const found = query.found().map((one) => ({ ...one, who: whoIs(one.trust) }));
  if (values.json) out(JSON.stringify(found, null, 2));
  else for (const one of found) out([one.addresses.join(" "), one.who, offerText(one)].join("\t"));
  const refused = refusedText(query);
  if (refused !== undefined) err(refused);
  return found.length > 0 ? 0 : 5;
}

function whoIs(trust: Trust): string {
  return trust.by === "node" ? `node ${trust.nodeId}` : trust.by;
}
