/**
 * A checksum before each document of the journal: SQLite checks its own structure,
 * not what is written in a row, and a damaged reservation must not be believed.
 *
 *   8a5f0c21 {"mac":"52:54:00:00:00:01","address":"10.77.0.10"}
 */

import { crc32 } from "node:zlib";
import { ConfigurationError } from "../errors.ts";

const digits = 8;

export function seal(document: string): string {
  return `${crc32(document).toString(16).padStart(digits, "0")} ${document}`;
}

/** @throws ConfigurationError with the first characters of what is damaged. */
export function unseal(sealed: string): string {
  const document = sealed.slice(digits + 1);
  if (seal(document) === sealed) return document;
  throw new ConfigurationError(
    `the journal is damaged at ${JSON.stringify(sealed.slice(0, 80))}: restore a backup, or the disk it is on`,
  );
}
