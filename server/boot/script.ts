/**
 * iPXE scripts, made for one node at the moment it asks.
 *
 * Only iPXE's oldest commands are used: Debian's build of 2019 runs them too.
 */

import { type MacAddress, parseMacAddress } from "#protocol/brand.ts";
import type { Architecture } from "#protocol/firmware.ts";
import type { KernelWord } from "./kernel-line.ts";

const namePattern = /^boot\/node\/(?<mac>[0-9a-f]{2}(?:-[0-9a-f]{2}){5})\/boot\.ipxe$/;

/** Name in the table of boot files, also the path of its URL. */
export function scriptName(mac: MacAddress): string {
  return `boot/node/${mac.replaceAll(":", "-")}/boot.ipxe`;
}

/** The node whose script this name asks for; undefined: not the name of a script. */
export function scriptOwner(name: string): MacAddress | undefined {
  const mac = namePattern.exec(name)?.groups?.["mac"];
  return mac === undefined ? undefined : parseMacAddress(mac);
}

export interface NetinstScript {
  readonly mac: MacAddress;
  /** Of the boot listener, no slash at the end. */
  readonly url: string;
  readonly architecture: Architecture;
  readonly words: readonly KernelWord[];
}

/**
 * Loads kernel and initrd and starts them. A failure is shown, and after 10 s
 * the script is asked for again: what the server wants may have changed.
 *
 * `initrd=initrd` tells the kernel's EFI stub the name given by `--name`.
 */
export function netinstScript(script: NetinstScript): string {
  const { url, mac, architecture, words } = script;
  const files = `${url}/boot/netinst/${architecture}`;
  return lines(
    "#!ipxe",
    `echo marcoboot: ${mac} boots netinst (${architecture}) from ${url}`,
    `kernel --name kernel ${files}/kernel initrd=initrd ${words.join(" ")} || goto failed`,
    `initrd --name initrd ${files}/initrd || goto failed`,
    "boot || goto failed",
    ":failed",
    "echo marcoboot: netinst could not be loaded, asking again in 10 s",
    "sleep 10",
    "imgfree",
    `chain --replace --autofree ${url}/${scriptName(mac)} || goto failed`,
  );
}

/**
 * Hands the node back to its firmware, which goes on to the next boot entry. On
 * UEFI a plain `exit` means success and opens the set-up screen.
 */
export function localDiskScript(mac: MacAddress): string {
  return lines(
    "#!ipxe",
    `echo marcoboot: ${mac} boots its own disk`,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: iPXE puts the value in, not we
    "iseq ${platform} efi && exit 1 || exit",
  );
}

function lines(...list: readonly string[]): string {
  return `${list.join("\n")}\n`;
}
