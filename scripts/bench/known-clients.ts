/** Clients with a reservation, as a rack's nodes have one: the same for every contender. */

import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { addressNumber, addressOctets } from "./dhcp-messages.ts";

export const knownClients = 500;
/** perfdhcp counts its clients' hardware addresses up from the run's first; no other run has this number. */
export const knownRun = 255;
const firstAddress = "10.68.0.1"; // behind the pool

export interface KnownClient {
  readonly mac: string;
  readonly address: string;
}

export const known: readonly KnownClient[] = Array.from({ length: knownClients }, (_, index) => ({
  mac: `02:ff:00:00:${octet(index >> 8)}:${octet(index & 255)}`,
  address: addressOctets(addressNumber(firstAddress) + index).join("."),
}));

function octet(value: number): string {
  return value.toString(16).padStart(2, "0");
}

/**
 * Writes the reservations into a journal that no server has open yet.
 *
 * @param checkout - whose journal it is
 */
export function reserveInJournal(checkout: string, stateDirectory: string): void {
  mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
  const args = [fileURLToPath(import.meta.url), checkout, join(stateDirectory, "marcoboot.db")];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`no reservations could be made: ${stderr}`);
}

if (import.meta.main) {
  const [checkout = "", database = ""] = process.argv.slice(2);
  const { openSqliteStore } = await import(
    pathToFileURL(join(checkout, "server", "store", "sqlite.ts")).href
  );
  const store = openSqliteStore(database);
  store.transaction(() => {
    for (const { mac, address } of known) store.reservations.put({ mac, address, createdAt: 0 });
  });
  store.close();
}
