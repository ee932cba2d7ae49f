/** A server whose keys are gone does not become another one without a word. */

import { readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { openSite } from "../../server/enrol/authority.ts";
import { openOwnSite } from "../../server/enrol/own-site.ts";
import { ConfigurationError } from "../../server/errors.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { temporaryDirectory } from "../support/temporary.ts";

async function begin(t: ExecutionContext) {
  const directory = join(temporaryDirectory(t), "keys");
  const store = openSqliteStore(":memory:");
  const { keyId } = await openOwnSite(directory, store);
  return { directory, store, keyId };
}

test("the site founded at the first start is the same ever after", async (t) => {
  const { directory, store, keyId } = await begin(t);
  t.is((await openOwnSite(directory, store)).keyId, keyId);
});

for (const name of ["signing.key", "authority.key"]) {
  test(`without ${name} no new one is made: the remedy is told, and with it back all goes on`, async (t) => {
    const { directory, store, keyId } = await begin(t);
    const path = join(directory, name);
    renameSync(path, `${path}.away`);
    const before = readdirSync(directory);
    await t.throwsAsync(openOwnSite(directory, store), {
      instanceOf: ConfigurationError,
      message: new RegExp(`${name} is gone.* site ${keyId} only: bring them back`),
    });
    t.deepEqual(readdirSync(directory), before);
    renameSync(`${path}.away`, path);
    t.is((await openOwnSite(directory, store)).keyId, keyId);
  });
}

test("keys of another site are refused by the names of both", async (t) => {
  const { directory, store, keyId } = await begin(t);
  rmSync(directory, { recursive: true });
  const other = await openSite(directory);
  await t.throwsAsync(openOwnSite(directory, store), {
    message: new RegExp(`of site ${other.keyId}, the journal beside them is of site ${keyId}`),
  });
});
