/** A firewall of this machine that lets in only what it is told. */

import type { Finding } from "#protocol/timeline.ts";
import { type Check, fine, hint, interfacesOf } from "../check.ts";
import { capabilitiesOf, hasCapability } from "../machine.ts";
import { portsOf } from "./ports.ts";

const netAdmin = 12; // CAP_NET_ADMIN

interface Chain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook?: string;
  readonly policy?: string;
}

export const firewallCheck: Check = {
  name: "firewall",
  async examine(context) {
    const { machine } = context;
    // without it nft answers that there is no chain
    if (!hasCapability(capabilitiesOf(machine, "self") ?? 0n, netAdmin)) return [];
    const text = await machine.run("nft", "-j", "list", "chains");
    if (text === undefined) return []; // no nft
    const closed = chainsOf(text).find(({ hook, policy }) => hook === "input" && policy === "drop");
    if (!closed) return [fine("firewall", "no nftables chain drops incoming packets by policy")];
    return [tell(closed, interfacesOf(context), portsOf(context.config))];
  },
};

function tell(
  { family, table, name }: Chain,
  interfaces: readonly string[],
  ports: ReturnType<typeof portsOf>,
): Finding {
  const of = (wanted: "udp" | "tcp") =>
    ports.filter(({ protocol }) => protocol === wanted).map(({ port }) => port);
  return hint(
    "firewall",
    `the firewall (${family} ${table} ${name}) drops what no rule lets in`,
    `see that it lets in UDP ${of("udp").join(", ")} and TCP ${of("tcp").join(", ")} on ${interfaces.join(", ")}; TFTP transfers use other UDP ports from their second packet on`,
  );
}

function chainsOf(text: string): readonly Chain[] {
  try {
    const { nftables } = JSON.parse(text) as { nftables?: readonly { chain?: Chain }[] };
    return (nftables ?? []).flatMap(({ chain }) => (chain ? [chain] : []));
  } catch {
    return []; // another version's words
  }
}
