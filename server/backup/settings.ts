/**
 * The settings of a server in its backups. A state directory says from which file its server was
 * started last; a backup takes that file in as it is then. Secrets are in files of their own, which
 * the settings name and no backup of the state has; a password in `redisUrl` is left out.
 */

import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { readPrivate, writeDurably } from "../store/durable-file.ts";

/** In a backup, and in a state directory that was restored from one. */
export const settingsName = "server.yaml";
const noteName = "settings-from";
const redisPassword = /(redisUrl["']?\s*:\s*["']?[a-z]+:\/\/)[^@/\s"']+@/g;

export interface Settings {
  /** Absolute. */
  readonly path: string;
  readonly text: string;
}

/** Called at each start of the server. */
export async function noteSettings(stateDirectory: string, path: string): Promise<void> {
  const note = join(stateDirectory, noteName);
  const text = `${resolve(path)}\n`;
  if ((await readPrivate(note)) !== text) await writeDurably(note, text, 0o600);
}

/** Undefined where no server was started yet, or the file has gone. */
export async function findSettings(stateDirectory: string): Promise<Settings | undefined> {
  const path = (await readPrivate(join(stateDirectory, noteName)))?.trim();
  const text = path === undefined ? undefined : await textOf(path);
  if (path === undefined || text === undefined) return undefined;
  return { path, text: text.replace(redisPassword, "$1LEFT-OUT@") };
}

/** Undefined when there is none, or none for us. */
export async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "EACCES") return undefined;
    throw error;
  }
}
