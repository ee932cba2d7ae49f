/**
 * A copy of the journal, made from outside while a server writes it: another process reads what was
 * committed at one moment, and holds up nobody.
 */

import { DatabaseSync } from "node:sqlite";
import { ConfigurationError } from "../errors.ts";
import { unseal } from "./seal.ts";

/** What was in the journal at one moment, without what was replaced or removed. @param to - not there yet */
export function copyJournal(from: string, to: string): void {
  const connection = open(from);
  try {
    connection.prepare("VACUUM INTO ?").run(to);
  } catch (cause) {
    throw told(from, cause);
  } finally {
    connection.close();
  }
}

/**
 * Reads every document of the journal.
 *
 * @returns the version of its tables
 * @throws ConfigurationError when one is damaged
 */
export function checkJournal(path: string): number {
  const connection = open(path);
  try {
    const health = connection.prepare("PRAGMA integrity_check(1)").get()?.["integrity_check"];
    if (health !== "ok") throw new Error(String(health));
    const tables = connection
      .prepare(
        `SELECT m.name AS name FROM sqlite_master AS m, pragma_table_info(m.name) AS c
         WHERE m.type = 'table' AND c.name = 'body'`,
      )
      .all();
    for (const { name } of tables) {
      for (const { body } of connection.prepare(`SELECT body FROM ${String(name)}`).iterate()) {
        unseal(String(body));
      }
    }
    return Number(connection.prepare("SELECT max(version) AS v FROM migrations").get()?.["v"]);
  } catch (cause) {
    throw told(path, cause);
  } finally {
    connection.close();
  }
}

function open(path: string): DatabaseSync {
  try {
    return new DatabaseSync(path, { readOnly: true, timeout: 5000 });
  } catch (cause) {
    throw told(path, cause);
  }
}

function told(path: string, cause: unknown): ConfigurationError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new ConfigurationError(`journal ${path} cannot be copied: ${reason}`, { cause });
}
