/** Which of a subnet's client classes a client belongs to: the first that fits. Pure. */

import type { BootClient } from "../boot/client.ts";
import type { ClientClass } from "../config.ts";

export function classOf(
  client: Pick<BootClient, "mac" | "vendorClass" | "architectures">,
  classes: readonly ClientClass[],
): ClientClass | undefined {
  return classes.find(({ match }) => isMember(client, match));
}

/** All that `match` names must fit; what the client does not say does not fit. */
function isMember(
  client: Pick<BootClient, "mac" | "vendorClass" | "architectures">,
  { vendorClass, architectures, macPrefix }: ClientClass["match"],
): boolean {
  if (vendorClass !== undefined && !client.vendorClass?.startsWith(vendorClass)) return false;
  if (macPrefix !== undefined && !client.mac.startsWith(macPrefix)) return false;
  return !architectures || architectures.some((type) => client.architectures.includes(type));
}
