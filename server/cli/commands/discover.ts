/** `marcoboot discover`: this process asks the networks of the machine it runs on. */

import { pinKey } from "../../../netinst/trust.ts";
import type { Answerer, Query } from "../../discovery/shared/query.ts";
import {
  offerText,
  parseSearch,
  refusedText,
  type Search,
  search,
  searchOptions,
} from "../../discovery/shared/search.ts";
import type { Roots } from "../../discovery/shared/trust.ts";
import { type Command, CommandError, exitCodes, type Run, UsageError } from "../command.ts";
import type { Node, Page } from "../shapes.ts";

interface Site {
  readonly serverKey: string;
  readonly authority: string;
  readonly discovery: { readonly group: string; readonly port: number };
}

export const discoverCommands: readonly Command[] = [
  {
    noun: "discover",
    verb: "",
    about: "who on this network offers a service, or is there at all",
    positionals: ["[SERVICE]"],
    options: searchOptions,
    examples: [
      "marcoboot discover",
      "marcoboot discover marcoboot-node --max 48 --timeout 5",
      "marcoboot discover deployer --param arch=arm64 --exclude 10.77.0.11 --json",
      "marcoboot discover --services --group 224.0.0.113",
    ],
    async run(run) {
      const wanted = searchOf(run);
      const site = await ourSite(run);
      const group = wanted.group ?? site?.discovery.group;
      run.output.progress(`asking for ${wanted.timeoutMs / 1000} s`);
      const query = await searched({ ...wanted, ...(group !== undefined && { group }) }, site, run);
      const found = await named(query, run);
      run.output.table(
        ["address", "who", "says"],
        found.map((one) => [one.addresses.join(" "), one.who, offerText(one)]),
        found,
      );
      const refused = refusedText(query);
      if (refused !== undefined) run.output.say(refused);
      return found.length > 0 ? exitCodes.done : exitCodes.notFound;
    },
  },
];

function searchOf({ positionals: [service], values }: Run): Search {
  try {
    return parseSearch(service, values);
  } catch (cause) {
    if (cause instanceof RangeError) throw new UsageError(cause.message, { cause });
    throw cause;
  }
}

/** Whom to believe, if the server can be asked; the networks can be asked without it. */
async function ourSite(run: Run): Promise<Site | undefined> {
  try {
    return (await run.client.get("/api/v1/site")) as Site;
  } catch (error) {
    if (!(error instanceof CommandError) || run.signal.aborted) throw error;
    run.output.say(`nobody's signature is checked: ${error.message}`);
    return undefined;
  }
}

async function searched(wanted: Search, site: Site | undefined, run: Run): Promise<Query> {
  const roots: Roots = site ? { site: pinKey(site.serverKey), authority: site.authority } : {};
  try {
    return await search(
      wanted,
      roots,
      { onTrouble: (text) => run.output.say(text), ...(site && { port: site.discovery.port }) },
      run.signal,
    );
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new CommandError(cause.message, exitCodes.failed, undefined, { cause });
  }
}

/** A certificate outlives what it stands for: the server knows what became of the node. */
async function named(
  query: Query,
  { client }: Run,
): Promise<readonly (Answerer & { readonly who: string })[]> {
  const found = query.found();
  const nodes = new Map<string, Node>();
  if (found.some(({ trust }) => trust.by === "node")) {
    const { items } = (await client.get("/api/v1/nodes")) as Page<Node>;
    for (const node of items) nodes.set(node.id, node);
  }
  return found.map((one) => ({ ...one, who: whoIs(one, nodes) }));
}

function whoIs({ trust, key }: Answerer, nodes: ReadonlyMap<string, Node>): string {
  if (trust.by === "server") return "server";
  if (trust.by !== "node") return `unchecked, key ${key.slice(0, 16)}`;
  const node = nodes.get(trust.nodeId);
  if (!node) return `was node ${trust.nodeId}`;
  const present = [node.certificate, node.nextCertificate?.fingerprint];
  const isTrusted = !node.quarantined && present.includes(trust.fingerprint);
  return isTrusted ? `node ${node.name}` : `node ${node.name}, not trusted any more`;
}
