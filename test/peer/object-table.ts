/**
 * Any objects behind Debian's snmpd (`pass_persist` of snmpd.conf(5)), to be read and walked.
 *
 *   object-table.ts <file: JSON list of [oid, type, value]>
 */

import { readFileSync } from "node:fs";
import { servePassPersist } from "../support/pass-persist.ts";

const [path = ""] = process.argv.slice(2);
type Row = readonly [oid: string, type: string, value: string];

const numbersOf = (oid: string) => oid.replace(/^\./, "").split(".").map(Number);

/** Where two OIDs differ, or where one ends, decides. */
function compare(a: readonly number[], b: readonly number[]): number {
  const place = a.findIndex((number, index) => number !== b[index]);
  if (place < 0) return a.length - b.length;
  return (a[place] ?? -1) - (b[place] ?? -1);
}

const rows = (JSON.parse(readFileSync(path, "utf8")) as readonly Row[]).toSorted((a, b) =>
  compare(numbersOf(a[0]), numbersOf(b[0])),
);
const answerOf = (row: Row | undefined) => (row ? `.${row[0]}\n${row[1]}\n${row[2]}` : "NONE");

await servePassPersist({
  get: (oid) => answerOf(rows.find((row) => compare(numbersOf(row[0]), numbersOf(oid)) === 0)),
  next: (oid) => answerOf(rows.find((row) => compare(numbersOf(row[0]), numbersOf(oid)) > 0)),
});
