/**
 * A question as people ask it: options of a command line, the same on the server's machine and on
 * a node, and the words for what was found.
 */

import { randomBytes } from "node:crypto";
import { networkInterfaces } from "node:os";
import { isGroup } from "#protocol/discovery.ts";
import { type Asking, ask, pausesOf } from "./ask.ts";
import { type Answerer, createQuery, type Query, type Wanted } from "./query.ts";
import { type Link, linksOf } from "./sockets.ts";
import { createJudge, type Roots } from "./trust.ts";

export interface Search extends Wanted {
  /** Mesh; absent: the usual one. */
  readonly group?: string;
  readonly timeoutMs: number;
  readonly retries: number;
  /** Absent: all that have an address. */
  readonly interfaces?: readonly string[];
}

/** For `parseArgs` of `node:util`, with what is said about each. */
export const searchOptions = {
  group: { type: "string", value: "GROUP", about: "mesh, e.g. 224.0.0.113; default: marcoboot's" },
  param: {
    type: "string",
    multiple: true,
    value: "NAME=VALUE",
    about: "only those that offer this; may be repeated",
  },
  exclude: {
    type: "string",
    multiple: true,
    value: "ADDRESS",
    about: "without this one; may be repeated",
  },
  max: { type: "string", value: "N", about: "stop when so many have answered" },
  timeout: { type: "string", value: "SECONDS", about: "wait so long, 0.1-60; default 2" },
  retries: { type: "string", value: "N", about: "ask again so often within it, 0-20; default 2" },
  interface: {
    type: "string",
    multiple: true,
    value: "NAME",
    about: "ask there only; may be repeated; default: all",
  },
  services: { type: "boolean", about: "what each host offers, instead of who offers a service" },
} as const;

export type SearchValues = Readonly<
  Record<string, string | boolean | readonly (string | boolean)[] | undefined>
>;

/** @throws RangeError naming the option, the value and what would do. */
export function parseSearch(service: string | undefined, values: SearchValues): Search {
  const { group, max } = values;
  if (group !== undefined && !isGroup(group)) {
    throw new RangeError(`--group ${String(group)} is not an address of 224.0.0.0-239.255.255.255`);
  }
  const interfaces = listOf(values["interface"]);
  return {
    ...(service !== undefined && { service }),
    ...(values["services"] === true && { services: true }),
    params: Object.fromEntries(listOf(values["param"]).map(parsePair)),
    exclude: listOf(values["exclude"]),
    ...(max !== undefined && { maxNodes: numberIn(max, "--max", 1, 100_000) }),
    ...(typeof group === "string" && { group }),
    timeoutMs: numberIn(values["timeout"] ?? "2", "--timeout", 0.1, 60, false) * 1000,
    retries: numberIn(values["retries"] ?? "2", "--retries", 0, 20),
    ...(interfaces.length > 0 && { interfaces }),
  };
}

function listOf(value: SearchValues[string]): readonly string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

function parsePair(text: string): readonly [string, string] {
  const at = text.indexOf("=");
  if (at < 1) throw new RangeError(`--param ${text} is not NAME=VALUE`);
  return [text.slice(0, at), text.slice(at + 1)];
}

function numberIn(
  value: NonNullable<SearchValues[string]>,
  name: string,
  least: number,
  most: number,
  isWhole = true,
): number {
  const number = value === "" ? Number.NaN : Number(value);
  const fits = number >= least && number <= most && (!isWhole || Number.isInteger(number));
  if (fits) return number;
  throw new RangeError(
    `${name} ${String(value)} is not ${isWhole ? "a whole number of " : ""}${least}-${most}`,
  );
}

/** Fewer are heard whenever they answer. */
const manyNodes = 32;

/** @throws RangeError when an interface is not there, or none has an address. */
export async function search(
  { group, timeoutMs, retries, interfaces, ...wanted }: Search,
  roots: Roots,
  more: Pick<Asking, "port" | "onTrouble">,
  signal: AbortSignal,
): Promise<Query> {
  const nonce = randomBytes(16).toString("hex");
  const query = createQuery(wanted, nonce, createJudge(roots));
  const links = linksToAsk(interfaces);
  const pauses = pausesOf(timeoutMs, retries);
  const manyExpected = (wanted.maxNodes ?? manyNodes) >= manyNodes;
  const asking = { ...more, query, links, pauses, manyExpected };
  await ask({ ...asking, ...(group !== undefined && { group }) }, signal);
  return query;
}

function linksToAsk(names: readonly string[] | undefined): readonly Link[] {
  const usable = Object.entries(networkInterfaces())
    .filter(([, addresses]) => addresses?.some(({ internal }) => !internal))
    .map(([name]) => name);
  const unknown = names?.find((name) => linksOf(name).length === 0);
  const known = usable.join(", ") || "none";
  if (unknown !== undefined) {
    throw new RangeError(`interface ${unknown} has no address; those that have: ${known}`);
  }
  const links = (names ?? usable).flatMap((name) => linksOf(name));
  if (links.length > 0) return links;
  throw new RangeError("no interface has an address: nobody can be asked");
}

/** What an answerer says of itself, in one line; certificates are left out. */
export function offerText({ params, services }: Answerer): string {
  if (services) return services.map(({ id }) => id).join(" ");
  return Object.entries(params)
    .filter(([, value]) => !String(value).startsWith("-----BEGIN"))
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");
}

/** One line about whom we do not believe; undefined when there is none. */
export function refusedText(query: Query): string | undefined {
  const [first, ...others] = query.refused();
  if (first?.trust.by !== "nobody") return undefined;
  const more = others.length > 0 ? `, and ${others.length} more` : "";
  return `not believed: ${first.addresses[0]} (${first.trust.reason})${more}`;
}
