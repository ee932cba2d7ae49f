/** A14: a journal whose bytes changed on the disk is refused, or none of its bindings is wrong. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import { type Instant, ipv4FromNumber, parseMacAddress } from "#protocol/brand.ts";
import { ConfigurationError } from "../../server/errors.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import type { Reservation } from "../../server/store/store.ts";

const count = 120;
const bindings: readonly Reservation[] = Array.from({ length: count }, (_, index) => ({
  mac: parseMacAddress(`52:54:00:00:00:${index.toString(16).padStart(2, "0")}`),
  address: ipv4FromNumber(0x0a4d000a + index),
  hostname: `node-${index}`,
  createdAt: index as Instant,
}));
const texts = new Set(bindings.map((one) => JSON.stringify(one)));

const directory = mkdtempSync(join(tmpdir(), "marcoboot-damage-"));
test.after.always(() => rmSync(directory, { recursive: true }));

/** Octets of a journal's files: closed, and as a killed server leaves them. */
const { closed, killed } = (() => {
  const path = join(directory, "journal.db");
  const store = openSqliteStore(path);
  for (const binding of bindings) store.reservations.put(binding);
  const left = { file: readFileSync(path), log: readFileSync(`${path}-wal`) };
  store.close(); // writes the log's pages into the file
  return { closed: readFileSync(path), killed: left };
})();

/** The bindings a server would start with; undefined when it refuses. */
function bindingsOf(file: Buffer, log?: Buffer): readonly string[] | undefined {
  const path = join(directory, `damaged-${damaged++}.db`);
  writeFileSync(path, file);
  if (log) writeFileSync(`${path}-wal`, log);
  try {
    const store = openSqliteStore(path);
    const found = store.reservations.list().map((one) => JSON.stringify(one));
    store.close();
    return found;
  } catch (error) {
    if (error instanceof ConfigurationError) return undefined;
    throw error;
  }
}
let damaged = 0;

test("an undamaged journal has every binding, that of a killed server too", (t) => {
  t.is(bindingsOf(closed)?.length, count);
  t.is(bindingsOf(killed.file, killed.log)?.length, count);
});

testProp(
  "A14: one changed octet anywhere: refused, or every binding there as it was",
  [fc.nat(), fc.integer({ min: 1, max: 255 })],
  (t, position, change) => {
    const file = Buffer.from(closed);
    const at = position % file.length;
    file[at] = (file[at] ?? 0) ^ change;
    const found = bindingsOf(file);
    if (found) t.deepEqual(new Set(found), texts, `octet ${at}`);
    else t.pass();
  },
  { numRuns: Number(process.env["DAMAGES"] ?? 400) },
);

testProp(
  "A14: cut off anywhere: refused, or every binding there as it was",
  [fc.nat()],
  (t, length) => {
    const found = bindingsOf(closed.subarray(0, length % closed.length));
    // nothing at all is left of a file of no octets: that is a new journal
    if (found && found.length > 0) t.deepEqual(new Set(found), texts, `${length} octets`);
    else t.true(found === undefined || length % closed.length === 0);
  },
  { numRuns: 100 },
);

testProp(
  "A14: the log cut off anywhere: what was written first is there, nothing wrong is",
  [fc.nat()],
  (t, length) => {
    const found = bindingsOf(killed.file, killed.log.subarray(0, length % killed.log.length));
    const first = bindings.slice(0, found?.length ?? 0).map((one) => JSON.stringify(one));
    t.deepEqual(found ?? [], first, `${length % killed.log.length} octets`);
  },
  { numRuns: 100 },
);

testProp(
  "A14: one changed octet in the log: what was written first is there, nothing wrong is",
  [fc.nat(), fc.integer({ min: 1, max: 255 })],
  (t, position, change) => {
    const log = Buffer.from(killed.log);
    const at = position % log.length;
    log[at] = (log[at] ?? 0) ^ change;
    const found = bindingsOf(killed.file, log);
    const first = bindings.slice(0, found?.length ?? 0).map((one) => JSON.stringify(one));
    t.deepEqual(found ?? [], first, `octet ${at}`);
  },
  { numRuns: 200 },
);
