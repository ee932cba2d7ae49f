/** A node as people name it: by id or by name. */

import type { NodeId } from "#protocol/brand.ts";
import type { Node } from "#protocol/node.ts";
import { NotFoundError } from "../errors.ts";
import type { Admin } from "./services.ts";

/** @throws NotFoundError */
export function findNode(idOrName: string, { store }: Pick<Admin, "store">): Node {
  const node = store.nodes.get(idOrName as NodeId) ?? store.nodes.byName(idOrName);
  if (!node) throw new NotFoundError(`no node ${JSON.stringify(idOrName)}`);
  return node;
}
