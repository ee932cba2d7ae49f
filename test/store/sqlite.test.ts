import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test from "ava";
import type { Instant } from "#protocol/brand.ts";
import { ConfigurationError } from "../../server/errors.ts";
import { openDatabase } from "../../server/store/database.ts";
import { migrations } from "../../server/store/schema.ts";
import { seal } from "../../server/store/seal.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { exampleNode, storeContract } from "./contract.ts";

const directory = mkdtempSync(join(tmpdir(), "marcoboot-store-"));
test.after.always(() => rmSync(directory, { recursive: true, force: true }));
let files = 0;

storeContract("in memory", () => openSqliteStore(":memory:"));
storeContract("in a file", () => openSqliteStore(join(directory, `${files++}.db`)));

/** Documents have a checksum from this version on. */
const sealedSince = 4;
const nextVersion = (migrations.at(-1)?.version ?? 0) + 1;

test("every change waits for the disk but one that is told not to, alone", (t) => {
  const database = openDatabase(join(temporaryDirectory(t), "journal.db"));
  t.teardown(() => database.close());
  const mode = () => database.prepare("PRAGMA synchronous").get()?.["synchronous"];
  const [normal, full] = [1, 2];
  const hasty = { waitsForDisk: false };
  t.is(mode(), full);
  t.is(database.transaction(mode), full);
  t.is(database.transaction(mode, hasty), normal);
  t.is(mode(), full);
  const isPart = database.transaction(() => database.transaction(mode, hasty));
  t.is(isPart, full, "the whole waits");
  let after: unknown;
  database.transaction(() => database.afterCommit(() => (after = mode())), hasty);
  t.is(after, full, "what follows waits");
  const fails = () => {
    throw new Error("no");
  };
  t.throws(() => database.transaction(fails, hasty), { message: "no" });
  t.is(mode(), full);
});

test("a journal opened again has everything, and nobody else may read it", (t) => {
  const path = join(temporaryDirectory(t), "journal.db");
  const before = openSqliteStore(path);
  before.nodes.put(exampleNode());
  before.events.append(1 as Instant, [{ topic: "alarm", text: "x" }]);
  before.close();
  const store = openSqliteStore(path);
  t.deepEqual(store.nodes.list(), [exampleNode()]);
  t.is(store.events.lastId(), 1);
  store.close();
  t.is(statSync(path).mode & 0o777, 0o600);
});

test("the connection syncs every commit and checks references", (t) => {
  const database = openDatabase(join(temporaryDirectory(t), "journal.db"));
  const pragma = (name: string) => Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
  t.is(pragma("journal_mode"), "wal");
  t.is(pragma("synchronous"), 2); // FULL
  t.is(pragma("foreign_keys"), 1);
  database.close();
});

test("a journal of a newer marcoboot is refused and left alone", (t) => {
  const path = join(temporaryDirectory(t), "journal.db");
  const newer = { version: nextVersion, name: "newer", sql: "CREATE TABLE later (x)" };
  openDatabase(path, [...migrations, newer]).close();
  t.throws(() => openSqliteStore(path), {
    instanceOf: ConfigurationError,
    message: new RegExp(
      `has version ${nextVersion}, this marcoboot knows up to ${nextVersion - 1}`,
    ),
  });
});

for (const { version, name } of migrations) {
  test(`D45: a journal of version ${version} (${name}) is brought forward with what is in it`, (t) => {
    const path = join(temporaryDirectory(t), "journal.db");
    const older = openDatabase(
      path,
      migrations.filter((step) => step.version <= version),
    );
    const node = exampleNode();
    const text = JSON.stringify(node);
    older
      .prepare("INSERT INTO nodes (id, mac, name, body) VALUES (?, ?, ?, ?)")
      .run(node.id, node.mac, node.name, version < sealedSince ? text : seal(text));
    older.close();
    const store = openSqliteStore(path);
    t.deepEqual(store.nodes.list(), [node]);
    store.close();
  });
}

test("a step that fails leaves the schema as it was", (t) => {
  const path = join(temporaryDirectory(t), "journal.db");
  openDatabase(path).close();
  const broken = { version: nextVersion, name: "broken", sql: "CREATE TABLE half (x); nonsense" };
  t.throws(() => openDatabase(path, [...migrations, broken]), {
    message: new RegExp(`step ${nextVersion} \\(broken\\)`),
  });
  const database = openDatabase(path);
  t.is(database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'half'").get(), undefined);
  database.close();
});

test("a file that is no journal is refused with its name", (t) => {
  const path = join(temporaryDirectory(t), "journal.db");
  writeFileSync(path, "not a database, but long enough to be taken for one".repeat(100));
  t.throws(() => openSqliteStore(path), { instanceOf: ConfigurationError, message: /journal\.db/ });
});

test("only the newest 100,000 events are kept", (t) => {
  const database = openDatabase(join(directory, "events.db"));
  database.transaction(() => {
    database.prepare("INSERT INTO events (id, at, body) VALUES (?, 1, seal('{}'))").run(1);
    database.prepare("INSERT INTO events (id, at, body) VALUES (?, 1, seal('{}'))").run(100_000);
  });
  database.close();
  const store = openSqliteStore(join(directory, "events.db"));
  store.events.append(1 as Instant, [{ topic: "alarm", text: "x" }]);
  t.deepEqual(
    store.events.since(0, 9).map(({ id }) => id),
    [100_000, 100_001],
  );
  store.close();
});

for (const round of [1, 2, 3]) {
  test(`what a killed process had acknowledged is there, whole (round ${round})`, async (t) => {
    const path = join(temporaryDirectory(t), "journal.db");
    const child = spawn(process.execPath, [join(import.meta.dirname, "writer.ts"), path], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let acknowledged = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      acknowledged = Number(line);
      if (acknowledged === 20 * round) child.kill("SIGKILL");
    }
    if (child.signalCode === null) await once(child, "exit");
    t.is(child.signalCode, "SIGKILL");
    t.true(acknowledged >= 20 * round);
    const store = openSqliteStore(path);
    const events = store.events.since(0, 1_000_000);
    // One more may have been committed after the last word that got out.
    t.true(events.length === acknowledged || events.length === acknowledged + 1);
    t.is(store.settings.get("count"), String(events.length));
    store.close();
  });
}
