/**
 * GRUB configurations, made for one node at the moment it asks.
 *
 * Debian's signed GRUB asks for `/grub/grub.cfg` and no other name, so the node
 * is told by its address. Where its address is not ours (another DHCP server
 * gave it), that file sends it on to a name with its MAC address.
 *
 * Bare names are relative to where GRUB itself came from, TFTP or HTTP.
 */

import { type MacAddress, parseMacAddress } from "#protocol/brand.ts";
import type { Architecture } from "#protocol/firmware.ts";
import type { KernelWord } from "./kernel-line.ts";

export const grubConfigName = "grub/grub.cfg";

const nodePattern = /^grub\/node\/(?<mac>[0-9a-f]{2}(?::[0-9a-f]{2}){5})\/grub\.cfg$/;

/** The node whose configuration this name asks for; undefined: not such a name. */
export function grubConfigOwner(name: string): MacAddress | undefined {
  const mac = nodePattern.exec(name)?.groups?.["mac"];
  return mac === undefined ? undefined : parseMacAddress(mac);
}

export interface NetinstGrubConfig {
  readonly mac: MacAddress;
  readonly architecture: Architecture;
  readonly words: readonly KernelWord[];
}

/** Loads kernel and initrd and starts them; a failure is shown, and after 10 s it asks again. */
export function netinstGrubConfig({ mac, architecture, words }: NetinstGrubConfig): string {
  const files = `/boot/netinst/${architecture}`;
  return lines(
    `echo 'marcoboot: ${mac} boots netinst (${architecture}), signed'`,
    `if linux ${files}/kernel ${words.join(" ")}; then`,
    `  if initrd ${files}/initrd; then boot; fi`,
    "fi",
    "echo 'marcoboot: netinst could not be loaded, asking again in 10 s'",
    "sleep 10",
    `configfile /${grubConfigName}`,
  );
}

/** Back to the firmware. A node is seldom told so here: it gets no loader in the first place. */
export function localDiskGrubConfig(mac: MacAddress): string {
  return lines(`echo 'marcoboot: ${mac} boots its own disk'`, "exit");
}

/** For an address we do not know: GRUB puts the MAC address in, in lower case with colons. */
export function redirectGrubConfig(): string {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: GRUB puts the value in, not we
  return lines("configfile /grub/node/${net_default_mac}/grub.cfg");
}

function lines(...list: readonly string[]): string {
  return `${list.join("\n")}\n`;
}
