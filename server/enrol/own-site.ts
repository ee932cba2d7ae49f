/**
 * The site that a journal belongs to. Its nodes trust that site's keys and no others: where the keys
 * are gone, new ones are not made silently, or every node would take this server for a stranger.
 */

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { ConfigurationError } from "../errors.ts";
import type { Store } from "../store/store.ts";
import { openSite, type Site } from "./authority.ts";

/** Setting of the journal: key id of its site. */
const settingName = "site";

/** @throws ConfigurationError when the keys in `directory` are gone, or another site's */
export async function openOwnSite(
  directory: string,
  { settings }: Pick<Store, "settings">,
): Promise<Site> {
  const own = settings.get(settingName);
  const missing = ["signing.key", "authority.key"].find(
    (name) => !existsSync(join(directory, name)),
  );
  if (own !== undefined && missing !== undefined) {
    throw new ConfigurationError(
      `${join(directory, missing)} is gone, and the nodes of this journal trust the keys of site ${own} only: bring them back from their backup (\`tar --zstd -xf FILE -C ${dirname(directory)}\`), or move marcoboot.db* away to begin with nothing`,
    );
  }
  const site = await openSite(directory);
  if (own !== undefined && own !== site.keyId) {
    throw new ConfigurationError(
      `the keys in ${directory} are of site ${site.keyId}, the journal beside them is of site ${own}: bring the keys of ${own} back from their backup`,
    );
  }
  if (own === undefined) settings.put(settingName, site.keyId);
  return site;
}
