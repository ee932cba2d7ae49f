/**
 * What is asked for, in people's words, and what it means now: which nodes, and
 * the newest image of a name. Meant once when a job is made, and for a schedule
 * each time it is due.
 */

import type { Image } from "#protocol/image.ts";
import type { JobKindName, JobParameters } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { ConflictError, InvalidInputError } from "../errors.ts";
import type { Nodes } from "../node/nodes.ts";
import { type Commands, commandParameters } from "./commands.ts";
import { kindOf } from "./registry.ts";
import { checkSelector, resolveSelector } from "./selector.ts";

export interface Asked {
  readonly kind: JobKindName;
  readonly selector: string;
  readonly parameters: Readonly<Record<string, unknown>>;
}

export type Meant = JobParameters & {
  /** In the order of their slots. */
  readonly nodes: readonly Node[];
};

export interface RequestContext {
  readonly nodes: Pick<Nodes, "get" | "list">;
  readonly images: { list(): readonly Image[] };
  readonly commands: Commands;
}

/** @throws InvalidInputError, ConflictError when no one image fits all nodes */
export function meaningOf(asked: Asked, { nodes, images, commands }: RequestContext): Meant {
  const library = images.list();
  const chosen = resolveSelector(asked.selector, nodes.list(), library).flatMap(
    (id) => nodes.get(id) ?? [],
  );
  return { ...parametersOf(asked, chosen, library, commands), nodes: chosen };
}

/** Whether it may mean something at some time. @throws InvalidInputError */
export function checkAsked(
  asked: Asked,
  { images, commands }: Omit<RequestContext, "nodes">,
): void {
  checkSelector(asked.selector);
  parametersOf(asked, [], images.list(), commands);
}

/** Outside an image or a command may be named; inside it is its digest, and what is run. */
function parametersOf(
  { kind, parameters }: Asked,
  nodes: readonly Node[],
  library: readonly Image[],
  commands: Commands,
): JobParameters {
  const named = parameters["image"];
  let resolved = parameters;
  if (kind === "run") resolved = commandParameters(parameters, commands);
  if (kind === "copy" && typeof named === "string") {
    resolved = { ...parameters, image: fileNamed(named, library).digest };
  }
  if ((kind === "install" || kind === "update") && typeof named === "string") {
    resolved = { ...parameters, image: imageNamed(named, nodes, library).digest };
  }
  return { kind, parameters: kindOf(kind).parse(resolved) } as JobParameters; // parse is the kind's own
}

/** A file fits every architecture. */
function fileNamed(name: string, library: readonly Image[]): Image {
  const [newest] = library
    .filter((image) => image.digest === name || (image.name === name && image.format === "file"))
    .toSorted((a, b) => b.createdAt - a.createdAt);
  if (newest) return newest;
  throw new InvalidInputError(`no file ${JSON.stringify(name)} in the library`, [
    { pointer: "/parameters/image", detail: "push it with --format file" },
  ]);
}

/** The newest image of a name; where nodes are all of one architecture, the newest one for it. */
function imageNamed(name: string, nodes: readonly Node[], library: readonly Image[]): Image {
  const named = library
    .filter((image) => image.digest === name || (image.name === name && image.format !== "file"))
    .toSorted((a, b) => b.createdAt - a.createdAt);
  if (named.length === 0) {
    throw new InvalidInputError(`no image ${JSON.stringify(name)}`, [
      { pointer: "/parameters/image", detail: "not in the library" },
    ]);
  }
  const architectures = new Set(nodes.flatMap((node) => node.architecture ?? []));
  const fitting = named.find((image) => architectures.has(image.architecture)) ?? named[0];
  if (!fitting || architectures.size > 1) {
    const words = [...architectures].join(" and ");
    throw new ConflictError(`the nodes are ${words}: make one job for each architecture`);
  }
  return fitting;
}
