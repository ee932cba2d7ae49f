/**
 * Backups, made from the files of the state directory: while the server runs, or after it has died.
 * The keys go into a file of their own: they never change, and a backup of the state alone opens no
 * outlet and plays no server.
 */

import { readdirSync, readFileSync } from "node:fs";
import { access, mkdir, rm, stat, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Image } from "#protocol/image.ts";
import type { Clock } from "../clock.ts";
import { openSite } from "../enrol/authority.ts";
import { ConfigurationError, ConflictError } from "../errors.ts";
import { decodeLeaseFile, encodeLeaseFile } from "../lease/lease-format.ts";
import { writeDurably } from "../store/durable-file.ts";
import { checkJournal, copyJournal } from "../store/journal-copy.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import { type Contents, readArchive, type Source, sourceOf, writeArchive } from "./archive.ts";
import { findSettings, type Settings, settingsName } from "./settings.ts";

export const journalName = "marcoboot.db";
export const leasesName = "leases";
export const keysName = "keys";
export const imagesName = "images";
/** Where the last backup went. */
export const noteName = "backed-up";

export interface BackupRequest {
  readonly stateDirectory: string;
  /** A backup that is there is replaced when the new one is whole. */
  readonly path: string;
  readonly clock: Pick<Clock, "now">;
  /** Percent of what is to be written. */
  readonly onProgress?: (percent: number) => void;
}

export interface StateBackup {
  readonly contents: Contents;
  /** Of the library. */
  readonly images: readonly Image[];
}

/** @throws ConfigurationError, ConflictError when `path` is another file; nothing is replaced then */
export async function backUpState(
  request: BackupRequest & { readonly withImages: boolean },
): Promise<StateBackup> {
  const { stateDirectory, path, withImages } = request;
  await refuseOther(path);
  const site = await siteOf(join(stateDirectory, keysName), stateDirectory);
  const workshop = `${path}.work`;
  await rm(workshop, { recursive: true, force: true });
  await mkdir(workshop, { mode: 0o700 });
  try {
    const journal = join(workshop, journalName);
    copyJournal(join(stateDirectory, journalName), journal);
    const journalVersion = checkJournal(journal);
    const images = imagesOf(journal);
    const settings = await findSettings(stateDirectory);
    const sources = [
      await sourceOf(journalName, journal),
      ...(await copyLeases(stateDirectory, workshop)),
      ...(settings ? [await copySettings(settings, workshop)] : []),
      ...(withImages ? await imageSources(join(stateDirectory, imagesName), images) : []),
    ];
    const described = { site, journalVersion, ...(settings && { settings: settings.path }) };
    const contents = await write(request, { kind: "state", ...described }, sources);
    // For the doctor; a disk that takes no more writes has its backup all the same.
    await writeDurably(join(stateDirectory, noteName), `${path}\n`, 0o600).catch(() => undefined);
    return { contents, images };
  } finally {
    await rm(workshop, { recursive: true, force: true });
  }
}

/** The keys, in clear: to be kept where the backups of the state are not. @throws as {@link backUpState} does */
export async function backUpKeys(request: BackupRequest): Promise<Contents> {
  const { stateDirectory, path } = request;
  await refuseOther(path);
  const directory = join(stateDirectory, keysName);
  const site = await siteOf(directory, stateDirectory);
  const names = readdirSync(directory).filter((name) => !name.endsWith(".tmp"));
  const sources = await Promise.all(
    names.map((name) => sourceOf(`${keysName}/${name}`, join(directory, name))),
  );
  return await write(request, { kind: "keys", site }, sources);
}

/** Key id of the site whose keys are in `directory`. @throws ConfigurationError when there are none */
export async function siteOf(directory: string, stateDirectory: string): Promise<string> {
  if (await isThere(join(directory, "signing.key"))) return (await openSite(directory)).keyId;
  throw new ConfigurationError(
    `${stateDirectory} has no keys (${directory}/signing.key): name a server's state directory with --state`,
  );
}

export async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

/** The images that the journal at `path` knows; it is brought to our version first. */
export function imagesOf(path: string): readonly Image[] {
  const store = openSqliteStore(path);
  try {
    return store.images.list();
  } finally {
    store.close();
  }
}

/** Whoever mistypes a name must not lose a file. */
async function refuseOther(path: string): Promise<void> {
  if (!(await isThere(path))) return;
  try {
    await readArchive(path);
  } catch (cause) {
    throw new ConflictError(`${path} is there and is no backup: choose another name`, { cause });
  }
}

async function write(
  { path, clock, onProgress = () => undefined }: BackupRequest,
  described: Pick<Contents, "kind" | "site" | "journalVersion" | "settings">,
  sources: readonly Source[],
): Promise<Contents> {
  const total = Math.max(
    1,
    sources.reduce((sum, { octets }) => sum + octets, 0),
  );
  const at = new Date(clock.now()).toISOString();
  return await writeArchive(path, { ...described, at, host: hostname() }, sources, (octets) =>
    onProgress(Math.floor((100 * octets) / total)),
  );
}

/** Read as the server does at its start: what is being appended meanwhile is not in it. */
async function copyLeases(stateDirectory: string, workshop: string): Promise<readonly Source[]> {
  const path = join(stateDirectory, leasesName);
  if (!(await isThere(path))) return [];
  const { records, boot } = decodeLeaseFile(readFileSync(path), path);
  const copy = join(workshop, leasesName);
  await writeFile(copy, Buffer.concat([...encodeLeaseFile(records, boot)]));
  return [await sourceOf(leasesName, copy)];
}

async function copySettings({ text }: Settings, workshop: string): Promise<Source> {
  const copy = join(workshop, settingsName);
  await writeFile(copy, text);
  return await sourceOf(settingsName, copy);
}

/** An image that was deleted since the journal was copied is left out. */
async function imageSources(
  directory: string,
  images: readonly Image[],
): Promise<readonly Source[]> {
  const sources: Source[] = [];
  for (const { digest, storedDigest } of images) {
    const at = (name: string) => join(directory, digest, name);
    const name = `${imagesName}/${digest}`;
    if (!(await isThere(at("image")))) continue;
    const { size } = await stat(at("image"));
    sources.push(
      { name: `${name}/image`, path: at("image"), octets: size, sha256: storedDigest },
      await sourceOf(`${name}/manifest.json`, at("manifest.json")),
    );
  }
  return sources;
}
