/** D47: the journal's file is removed, or replaced, under the running server. */

import { cpSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { createEventBus } from "../../server/events.ts";
import { silentLog } from "../../server/log.ts";
import { checkJournal } from "../../server/store/journal-copy.ts";
import { keepJournal } from "../../server/store/keep-journal.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { manualClock } from "../support/manual-clock.ts";
import { temporaryDirectory } from "../support/temporary.ts";

function begin(t: ExecutionContext) {
  const directory = temporaryDirectory(t);
  const path = join(directory, "journal.db");
  const store = openSqliteStore(path);
  store.settings.put("before", "1");
  const clock = manualClock();
  const events = createEventBus(silentLog);
  const alarms: string[] = [];
  events.on("alarm", ({ text }) => void alarms.push(text));
  const end = keepJournal({ path, store, events, clock, log: silentLog });
  const remove = () => {
    for (const name of readdirSync(directory)) rmSync(join(directory, name));
  };
  /** What a server that starts now would know; the running one is killed. */
  const known = () => {
    checkJournal(path);
    const next = openSqliteStore(path);
    const names = ["before", "between", "after"].filter((name) => next.settings.get(name));
    next.close();
    return names;
  };
  return { directory, path, store, clock, alarms, end, remove, known };
}

for (const what of ["the file", "the file and its log"] as const) {
  test(`D47: ${what} removed: noticed within 15 s, and written again with all it held`, async (t) => {
    const { path, store, clock, alarms, end, remove, known } = begin(t);
    if (what === "the file") rmSync(path);
    else remove();
    store.settings.put("between", "1");
    await clock.advance(15_000);
    t.regex(alarms.join(), /was removed under the running server.*restart the server/);
    t.is(statSync(path).mode & 0o777, 0o600);
    t.deepEqual(known(), ["before", "between"]);
    store.settings.put("after", "1");
    await clock.advance(60_000);
    t.deepEqual(known(), ["before", "between", "after"], "each minute");
    t.is(alarms.length, 1);
    end();
    store.close();
  });
}

test("D47: what is written before the server ends is in the file then", async (t) => {
  const { store, clock, end, remove, known } = begin(t);
  remove();
  await clock.advance(15_000);
  store.settings.put("after", "1");
  end();
  store.close();
  t.deepEqual(known(), ["before", "after"]);
});

test("D47: a file that somebody has put in its place is left alone, and told of once", async (t) => {
  const { directory, path, store, clock, alarms, end, remove, known } = begin(t);
  const other = join(temporaryDirectory(t), "other.db");
  cpSync(path, other);
  for (const end of ["-wal", "-shm"]) cpSync(`${path}${end}`, `${other}${end}`);
  remove();
  for (const end of ["", "-wal", "-shm"])
    cpSync(`${other}${end}`, join(directory, `journal.db${end}`));
  store.settings.put("after", "1");
  await clock.advance(90_000);
  t.deepEqual(alarms.length, 1);
  t.regex(alarms.join(), /was replaced under the running server/);
  end();
  store.close();
  t.deepEqual(known(), ["before"]);
});

test("D47: with its directory gone nothing can be written: told once, and the server ends all the same", async (t) => {
  const { directory, store, clock, alarms, end } = begin(t);
  rmSync(directory, { recursive: true });
  await clock.advance(45_000);
  t.is(alarms.length, 1);
  t.regex(alarms.join(), /cannot be written again \(ENOENT.*is lost when it ends/);
  t.notThrows(end);
  store.close();
});

test("a file that nobody touches is left as it is", async (t) => {
  const { path, store, clock, alarms, end } = begin(t);
  const { ino } = statSync(path);
  await clock.advance(90_000);
  end();
  store.close();
  t.is(statSync(path).ino, ino);
  t.deepEqual(alarms, []);
});
