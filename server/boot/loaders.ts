/**
 * The boot loaders by name, as they lie in `loadersDirectory`, and which of them
 * a UEFI firmware is told to load first.
 *
 *   ipxe     ipxe-<x64|arm64>.efi -> our script by HTTP
 *   signed   shim<x64|aa64>.efi -> grub<x64|aa64>.efi -> grub/grub.cfg: for Secure
 *            Boot, where every part carries a signature the firmware or shim knows
 *
 * shim asks for GRUB beside itself, under the name that is built into it.
 */

import { type Architecture, architectureOf } from "#protocol/firmware.ts";
import type { BootClient } from "./client.ts";

export type LoaderChain = "ipxe" | "signed";

const firstOf: Readonly<Record<LoaderChain, Readonly<Record<Architecture, string>>>> = {
  ipxe: { amd64: "ipxe-x64.efi", arm64: "ipxe-arm64.efi" },
  signed: { amd64: "shimx64.efi", arm64: "shimaa64.efi" },
};
/** Names of the signed chain, shim first. */
export const signedLoaders: Readonly<Record<Architecture, readonly string[]>> = {
  amd64: [firstOf.signed.amd64, "grubx64.efi"],
  arm64: [firstOf.signed.arm64, "grubaa64.efi"],
};
/** Every file of the loaders' directory that is served under its own name to anyone. */
export const loaderNames: readonly string[] = [
  ...Object.values(firstOf.ipxe),
  "undionly.kpxe",
  ...Object.values(signedLoaders).flat(),
];

/** What this client's processor loads first. */
export function firstLoader(client: Pick<BootClient, "firmware">, chain: LoaderChain): string {
  const architecture = client.firmware === undefined ? "amd64" : architectureOf(client.firmware);
  return firstOf[chain][architecture];
}

/** The chain a loader is the first link of; undefined: none. */
export function chainBegunBy(name: string): LoaderChain | undefined {
  const chains: readonly LoaderChain[] = ["ipxe", "signed"];
  return chains.find((chain) => Object.values(firstOf[chain]).includes(name));
}

/** It belongs to the signed chain. */
export function isSigned(name: string): boolean {
  return Object.values(signedLoaders).some((names) => names.includes(name));
}
