/**
 * A backup becomes a state directory. What is there already stays (keys, leases and images are newer
 * than the backup); the settings are a proposal, put beside the journal; a journal that is there is never replaced. The journal comes last, by a rename:
 * until then `serve` refuses the directory, and a restore that was cut off is begun again.
 *
 *   <state>/restoring/   what came out of the backup, checked; gone when all is in its place
 */

import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { milliseconds } from "#protocol/brand.ts";
import type { Image } from "#protocol/image.ts";
import type { Clock } from "../clock.ts";
import { ConfigurationError, ConflictError } from "../errors.ts";
import type { Log } from "../log.ts";
import { syncDirectory } from "../store/durable-file.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import { lockName, lockState } from "../store/state-lock.ts";
import { type Contents, readArchive } from "./archive.ts";
import {
  imagesName,
  imagesOf,
  isThere,
  journalName,
  keysName,
  leasesName,
  siteOf,
} from "./create.ts";
import { settingsName, textOf } from "./settings.ts";
import { type Settled, settle } from "./settle.ts";

const restoringName = "restoring";

export interface RestoreRequest {
  readonly path: string;
  /** Backup of the keys; absent: they are in the state directory already. */
  readonly keysPath?: string;
  readonly stateDirectory: string;
  /** Checks all of it and leaves no trace. */
  readonly isTrial?: boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly onProgress?: (percent: number) => void;
}

export interface Restored extends Settled {
  readonly contents: Contents;
  /** The journal knows them, their files are not here: to be pushed again. */
  readonly missingImages: readonly Image[];
  /** Absent: the backup has none, or they are as they were. */
  readonly settings?: RestoredSettings;
}

export interface RestoredSettings {
  /** Where they were. */
  readonly from: string;
  /** Whether something is there now. */
  readonly isThere: boolean;
  /** Where those of the backup are now; absent: another file has that place. */
  readonly path?: string;
}

/** @throws ConflictError when there is a journal, or a server; ConfigurationError when a backup cannot be used */
export async function restore(request: RestoreRequest): Promise<Restored> {
  const { stateDirectory } = request;
  await refuseJournal(stateDirectory);
  // A server whose journal was moved away under it would write it again.
  const giveBack = existsSync(join(stateDirectory, lockName))
    ? await lockState(stateDirectory, request.clock, milliseconds(0))
    : undefined;
  try {
    return await restoreInto(request);
  } finally {
    giveBack?.();
  }
}

async function restoreInto(request: RestoreRequest): Promise<Restored> {
  const { stateDirectory, isTrial } = request;
  const restoring = join(stateDirectory, isTrial ? `${restoringName}.trial` : restoringName);
  const isEmptied = !(await isThere(restoring)) || isTrial;
  const made = await mkdir(restoring, { recursive: true, mode: 0o700 });
  let restored: Restored;
  try {
    await empty(restoring);
    restored = await unpack(request, restoring);
  } catch (error) {
    await empty(restoring);
    if (isEmptied) await rm(made ?? restoring, { recursive: true, force: true });
    throw error;
  }
  if (isTrial) await rm(made ?? restoring, { recursive: true, force: true });
  else await putInPlace(restoring, stateDirectory);
  return restored;
}

/** Everything that can be wrong is found here. */
async function unpack(request: RestoreRequest, restoring: string): Promise<Restored> {
  const { path, stateDirectory, onProgress = () => undefined } = request;
  const contents = await readArchive(path, {
    kind: "state",
    directory: restoring,
    onProgress: (octets, total) => onProgress(Math.floor((100 * octets) / total)),
  });
  await unpackKeys(request, restoring, contents);
  const journal = join(restoring, journalName);
  const settled = settleIn(journal, request, contents.at);
  const isHere = ({ digest }: Image) =>
    [stateDirectory, restoring].some((one) => existsSync(join(one, imagesName, digest, "image")));
  const missingImages = imagesOf(journal).filter((image) => !isHere(image));
  const settings = await compareSettings(restoring, stateDirectory, contents.settings);
  return { ...settled, contents, missingImages, ...(settings && { settings }) };
}

async function compareSettings(
  restoring: string,
  stateDirectory: string,
  from: string | undefined,
): Promise<RestoredSettings | undefined> {
  const brought = await textOf(join(restoring, settingsName));
  if (from === undefined || brought === undefined) return undefined;
  const present = await textOf(from);
  if (present === brought) {
    await rm(join(restoring, settingsName));
    return undefined;
  }
  const path = join(stateDirectory, settingsName);
  const kept = await textOf(path);
  const isFree = kept === undefined || kept === brought;
  return { from, isThere: present !== undefined, ...(isFree && { path }) };
}

async function unpackKeys(
  { keysPath, stateDirectory }: RestoreRequest,
  restoring: string,
  { site }: Contents,
): Promise<void> {
  const own = join(stateDirectory, keysName);
  const hasOwn = await isThere(join(own, "signing.key"));
  if (hasOwn) await refuseOtherSite(own, site, stateDirectory);
  if (keysPath !== undefined) {
    await readArchive(keysPath, { kind: "keys", directory: restoring });
    const brought = join(restoring, keysName);
    await refuseOtherSite(brought, site, keysPath);
    await refuseOtherKeys(own, brought);
  } else if (!hasOwn) {
    throw new ConfigurationError(
      `the keys of site ${site} are not in ${own}: give their backup with --keys`,
    );
  }
}

async function empty(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    await rm(join(directory, name), { recursive: true, force: true });
  }
}

/** Called before anything of a server is opened. @throws ConfigurationError */
export function refuseHalfRestored(stateDirectory: string): void {
  if (existsSync(join(stateDirectory, journalName))) return;
  if (!existsSync(join(stateDirectory, restoringName))) return;
  throw new ConfigurationError(
    `${stateDirectory} holds a restore that did not end: run \`marcoboot backup restore\` again, or remove ${join(stateDirectory, restoringName)} to begin with an empty journal`,
  );
}

async function refuseJournal(stateDirectory: string): Promise<void> {
  const names = (await isThere(stateDirectory)) ? await readdir(stateDirectory) : [];
  if (!names.some((name) => name.startsWith(journalName))) return;
  throw new ConflictError(
    `${stateDirectory} has a journal: end the server and move ${join(stateDirectory, journalName)}* away first`,
  );
}

async function refuseOtherSite(keys: string, site: string, named: string): Promise<void> {
  const found = await siteOf(keys, named);
  if (found === site) return;
  throw new ConfigurationError(
    `the keys of ${named} are of site ${found}, the backup is of site ${site}`,
  );
}

async function refuseOtherKeys(own: string, brought: string): Promise<void> {
  for (const name of await namesIn(brought)) {
    const [kept, given] = [join(own, name), join(brought, name)];
    if (!(await isThere(kept)) || (await readFile(kept)).equals(await readFile(given))) continue;
    throw new ConflictError(
      `${kept} is another key than the backup's: leave out --keys, or move it away`,
    );
  }
}

function settleIn(journal: string, { clock, log }: RestoreRequest, at: string): Settled {
  const store = openSqliteStore(journal);
  try {
    return settle({ store, clock, log }, at);
  } finally {
    store.close(); // its log goes into the file
  }
}

async function putInPlace(restoring: string, stateDirectory: string): Promise<void> {
  const keys = (await namesIn(join(restoring, keysName))).map((name) => join(keysName, name));
  const images = await namesIn(join(restoring, imagesName));
  for (const digest of images) await syncDirectory(join(restoring, imagesName, digest));
  const names = [
    ...keys,
    ...images.map((digest) => join(imagesName, digest)),
    leasesName,
    settingsName,
  ];
  for (const name of names) {
    const to = join(stateDirectory, name);
    if (!(await isThere(join(restoring, name))) || (await isThere(to))) continue;
    await mkdir(dirname(to), { recursive: true, mode: 0o700 });
    await rename(join(restoring, name), to);
    await syncDirectory(dirname(to));
  }
  await syncDirectory(stateDirectory);
  await rename(join(restoring, journalName), join(stateDirectory, journalName));
  await syncDirectory(stateDirectory);
  await rm(restoring, { recursive: true, force: true });
}

async function namesIn(directory: string): Promise<readonly string[]> {
  return (await isThere(directory)) ? await readdir(directory) : [];
}
