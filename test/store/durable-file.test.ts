import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { writeDurably } from "../../server/store/durable-file.ts";
import { temporaryDirectory } from "../support/temporary.ts";

test("a file is replaced as a whole, with the mode asked for, and nothing is left beside it", async (t) => {
  const directory = temporaryDirectory(t);
  const path = join(directory, "file");
  writeFileSync(path, "old and longer", { mode: 0o644 });
  await writeDurably(path, "new", 0o444);
  t.is(readFileSync(path, "utf8"), "new");
  t.is(statSync(path).mode & 0o777, 0o444);
  t.deepEqual(readdirSync(directory), ["file"]);
});

test("a write that fails leaves the old file, and no temporary one", async (t) => {
  const directory = temporaryDirectory(t);
  const path = join(directory, "file", "below");
  writeFileSync(join(directory, "file"), "old");
  await t.throwsAsync(writeDurably(path, "new", 0o600));
  t.deepEqual(readdirSync(directory), ["file"]);
});
