/**
 * D38: a disk that fails under the journal, by strace's faults in the system calls of a real process. A
 * change is refused or whole, what was acknowledged is there after a kill, and a disk that is well again
 * is used again.
 */

import { execFile } from "node:child_process";
import { join } from "node:path";
import test from "ava";
import { checkJournal } from "../../server/store/journal-copy.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const child = new URL("./journal-disk-child.ts", import.meta.url).pathname;

/** Its lines, of which it says the last before it dies. */
function run(
  path: string,
  fault: string,
  work: "change" | "read",
  times: number,
): Promise<readonly string[]> {
  const words = ["-f", "-o", "/dev/null", "-e", `inject=${fault}`, process.execPath];
  words.push(child, path, work, String(times));
  return new Promise((resolve) => {
    execFile("strace", words, { maxBuffer: 1 << 24 }, (_error, stdout) =>
      resolve(stdout.trim().split("\n")),
    );
  });
}

const faults: readonly (readonly [title: string, fault: string])[] = [
  ["refuses one flush", "fsync,fdatasync:error=EIO:when=40"],
  ["refuses every other flush", "fsync,fdatasync:error=EIO:when=30+2"],
  ["refuses every flush from some moment on", "fsync,fdatasync:error=EIO:when=40+"],
  ["refuses one write", "pwrite64:error=EIO:when=300"],
  ["refuses every hundredth write", "pwrite64:error=EIO:when=300+100"],
  ["is full for one write", "pwrite64:error=ENOSPC:when=301"],
  ["is full now and then", "pwrite64:error=ENOSPC:when=299+37"],
];
for (const [title, fault] of faults) {
  test(`D38: a disk that ${title}: a change of the journal is refused for good or there as a whole`, async (t) => {
    const path = join(temporaryDirectory(t), "journal.db");
    const [opened, ...lines] = await run(path, fault, "change", 60);
    t.is(opened, "opened");
    t.is(lines.length, 60, "it lives through all of it");
    const numbers = (word: string) =>
      lines.filter((line) => line.startsWith(word)).map((line) => Number(line.split(" ")[1]));
    const [kept, refused] = [numbers("kept"), numbers("refused")];
    t.true(kept.length > 0 && refused.length > 0, `${kept.length} kept, ${refused.length} refused`);

    checkJournal(path);
    const store = openSqliteStore(path);
    t.is(store.settings.get("count"), String(kept.at(-1)));
    for (const one of kept) t.truthy(store.settings.get(`change ${one}`), `change ${one}`);
    for (const one of refused)
      t.is(store.settings.get(`change ${one}`), undefined, `change ${one}`);
    t.is(store.events.since(0, 100).length, kept.length);
    store.close();
    t.log(`${kept.length} kept, ${refused.length} refused`);
  });
}

test("D38: a disk that does not give some of what it holds: that is refused, the rest is right", async (t) => {
  const path = join(temporaryDirectory(t), "journal.db");
  const store = openSqliteStore(path);
  const count = 2000; // more than SQLite keeps in memory
  store.transaction(() => {
    for (let one = 1; one <= count; one++) store.settings.put(`change ${one}`, "x".repeat(3000));
  });
  store.close();
  const [opened, ...lines] = await run(path, "pread64:error=EIO:when=4500+40", "read", count);
  t.is(opened, "opened");
  t.is(lines.length, count, "it lives through all of it");
  const refused = lines.filter((line) => line.startsWith("refused")).length;
  t.true(refused > 0 && refused < count, `${refused}`);
  t.log(`${refused} of ${count} refused`);
});
