/** D44, D37: a restore that dies at any of its renames is refused by the server, begun again, and then whole. */

import { existsSync, mkdirSync } from "node:fs";
import fs from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import test from "ava";
import { backUpKeys, backUpState } from "../../server/backup/create.ts";
import { refuseHalfRestored, restore } from "../../server/backup/restore.ts";
import { systemClock as clock } from "../../server/clock.ts";
import { silentLog as log } from "../../server/log.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { makeState } from "./state.ts";

const { rename } = fs;

/** @param at - the rename at which everything ends; 0: none */
function dieAt(at: number, when: "before" | "after"): void {
  let count = 0;
  fs.rename = async (from, to) => {
    count += 1;
    if (count === at && when === "before") throw new Error("killed");
    await rename(from, to);
    if (count === at) throw new Error("killed");
  };
  syncBuiltinESMExports();
}

test("D44: a restore that dies before or after each rename", async (t) => {
  const root = temporaryDirectory(t);
  const made = join(root, "state");
  mkdirSync(made);
  const { digest } = await makeState(made, clock);
  const [path, keysPath] = [join(root, "rack.backup"), join(root, "rack.keys")];
  await backUpState({ stateDirectory: made, path, clock, withImages: true });
  await backUpKeys({ stateDirectory: made, path: keysPath, clock });
  const names = ["marcoboot.db", "leases", "keys/signing.key", `images/${digest}/image`];
  let deaths = 0;
  for (const when of ["before", "after"] as const) {
    for (let at = 1; ; at++) {
      const stateDirectory = join(root, `${when}-${at}`);
      const again = () => restore({ path, keysPath, stateDirectory, clock, log });
      dieAt(at, when);
      const isOver = await again().then(
        () => true,
        () => false,
      );
      dieAt(0, when);
      if (isOver) break;
      deaths += 1;
      if (!existsSync(join(stateDirectory, "marcoboot.db"))) {
        t.throws(() => refuseHalfRestored(stateDirectory), undefined, `${when} rename ${at}`);
        await again();
      }
      t.notThrows(() => refuseHalfRestored(stateDirectory));
      const store = openSqliteStore(join(stateDirectory, "marcoboot.db"));
      t.is(store.nodes.list().length, 2, `${when} rename ${at}`);
      store.close();
      for (const name of names) t.true(existsSync(join(stateDirectory, name)), `${name}, ${at}`);
    }
  }
  t.true(deaths >= 14, `${deaths}`);
  t.log(`${deaths} deaths`);
});
