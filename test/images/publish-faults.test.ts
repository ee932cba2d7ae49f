/**
 * D37, D38: an image is pushed, and removed, while the server dies at one of its file operations, or
 * the disk refuses one. The image is whole and in the list, or neither; the next push takes it in.
 */

import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import fs from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { createLibrary, type Library } from "../../images/library.ts";
import { openSite } from "../../server/enrol/authority.ts";
import { createEventBus } from "../../server/events.ts";
import { silentLog as log } from "../../server/log.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const content = "what is to be copied";
const { open, rename, rm } = fs;

/** @param at - the operation that fails; with `forever` every later one, too, as of a dead process */
function failAt(at: number, forever: boolean): { readonly count: number } {
  const seen = { count: 0 };
  const guard =
    <Values extends readonly unknown[], Result>(work: (...values: Values) => Promise<Result>) =>
    async (...values: Values): Promise<Result> => {
      seen.count += 1;
      const isFailing = forever ? seen.count >= at : seen.count === at;
      if (at > 0 && isFailing) throw Object.assign(new Error("EIO: i/o error"), { code: "EIO" });
      return await work(...values);
    };
  Object.assign(fs, { open: guard(open), rename: guard(rename), rm: guard(rm) });
  syncBuiltinESMExports();
  return seen;
}

async function begin(t: ExecutionContext) {
  const root = temporaryDirectory(t);
  const directory = join(root, "images");
  const site = await openSite(join(root, "keys"));
  const store = openSqliteStore(join(root, "journal.db"));
  t.teardown(() => store.close());
  const clock = createFakeClock();
  const events = createEventBus(log);
  const path = join(root, "pushed");
  writeFileSync(path, content);
  const start = () => createLibrary({ directory, store, site, clock, log, events });
  const push = (library: Library) =>
    library.add({ path, name: "motd", architecture: "amd64", format: "file" });
  /** A server that starts on what is there lists what is there, whole, and nothing else. */
  const isSound = (where: string): Library => {
    const library = start();
    const listed = library.list().filter(({ isMissing }) => !isMissing);
    for (const { digest } of listed) {
      t.is(readFileSync(library.pathOf(digest), "utf8"), content, where);
      t.true(existsSync(join(directory, digest, "manifest.json")), where);
    }
    t.deepEqual(
      readdirSync(directory).filter((name) => name.startsWith(".")),
      [],
      where,
    );
    return library;
  };
  return { start, push, isSound };
}

for (const forever of [true, false]) {
  const how = forever ? "the server dies at" : "the disk refuses";
  test.serial(
    `${forever ? "D37" : "D38"}: ${how} each file operation of a push and of a removal`,
    async (t) => {
      let faults = 0;
      for (const isRemoval of [false, true]) {
        for (let at = 1; ; at++) {
          const { start, push, isSound } = await begin(t);
          failAt(0, false);
          const library = start();
          const image = isRemoval ? await push(library) : undefined;
          const seen = failAt(at, forever);
          const work = image ? library.remove(image.digest) : push(library);
          await work.catch(() => undefined); // told to its asker, or not: the directory tells
          failAt(0, false);
          await library.close();
          if (seen.count < at) break;
          faults += 1;
          const where = `operation ${at}${isRemoval ? " of a removal" : ""}`;
          const next = isSound(where);
          const { digest } = await push(next);
          t.is(readFileSync(next.pathOf(digest), "utf8"), content, where);
          t.like(next.list(), [{ name: "motd", isMissing: undefined }], where);
          await next.close();
        }
      }
      t.true(faults >= 6, `${faults}`);
      t.log(`${faults} faults`);
    },
  );
}
