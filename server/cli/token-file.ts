/** Where the command line keeps its token: `$XDG_CONFIG_HOME/marcoboot/token`, 0600. */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

type Environment = Readonly<Record<string, string | undefined>>;

export function tokenPath(environment: Environment): string {
  const named = environment["MARCOBOOT_TOKEN_FILE"];
  if (named) return named;
  const base = environment["XDG_CONFIG_HOME"] || join(homedir(), ".config");
  return join(base, "marcoboot", "token");
}

export function readToken(environment: Environment): string | undefined {
  try {
    return readFileSync(tokenPath(environment), "utf8").trim() || undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** @returns the path it was written to */
export function writeToken(environment: Environment, token: string): string {
  const path = tokenPath(environment);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(path, `${token}\n`, { mode: 0o600 });
  return path;
}
