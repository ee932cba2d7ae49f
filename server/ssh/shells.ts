/** Which SSH server a node is, with which key, from its record. */

import type { Node } from "#protocol/node.ts";
import type { Config } from "../config.ts";
import { ForbiddenError, UnavailableError } from "../errors.ts";
import type { SshKey } from "./key.ts";
import { connectShell, type Shell } from "./shell.ts";

/**
 * @returns what connects to a node: with ForbiddenError when its host key is not the
 *   recorded one or it does not let us in, UnavailableError when it cannot be reached
 */
export function createShells(
  { port, user }: Config["ssh"],
  { privateKey }: SshKey,
): (node: Node, signal: AbortSignal) => Promise<Shell> {
  return async (node, signal) => {
    const { name, address, sshHostKeys: hostKeys } = node;
    if (address === undefined) throw new UnavailableError(`${name} has no address`);
    if (!hostKeys?.length) {
      throw new ForbiddenError(`${name}: no SSH host key was recorded: install it from here first`);
    }
    return await connectShell({ address, port, user, privateKey, hostKeys }, signal);
  };
}
