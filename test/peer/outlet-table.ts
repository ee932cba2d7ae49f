/**
 * Our tables behind Debian's snmpd (`pass_persist` of snmpd.conf(5)): an object is
 * a file named by its OID. Writing a control object of outlet N moves its state
 * object; outlet 3 is welded, outlet 4 may not be written.
 *
 *   outlet-table.ts <directory>
 */

import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { servePassPersist } from "../support/pass-persist.ts";

const [directory = ""] = process.argv.slice(2);
const apc = "1.3.6.1.4.1.318.1.1";
const raritan = "1.3.6.1.4.1.13742.6.4.1.2.1";

/** Control column, state column, and what each command turns the state into. */
const columns = [
  [`${apc}.12.3.3.1.1.4`, `${apc}.12.3.5.1.1.4`, { 1: 1, 2: 2 }],
  [`${apc}.26.9.2.4.1.5`, `${apc}.26.9.2.3.1.5`, { 1: 2, 2: 1 }],
  [`${raritan}.2.1`, `${raritan}.3.1`, { 0: 8, 1: 7 }],
  ["1.3.6.1.2.1.105.1.1.1.3", "1.3.6.1.2.1.105.1.1.1.3", { 1: 1, 2: 2 }],
] as const;

const fileOf = (oid: string) => join(directory, oid);

function set(oid: string, typed: string): string {
  const found = columns.find(([control]) => oid.startsWith(`${control}.`));
  if (!found || !existsSync(fileOf(oid))) return "not-writable";
  const [control, state, meanings] = found;
  const outlet = oid.slice(control.length + 1);
  const [type, text] = typed.split(" ");
  if (type !== "integer") return "wrong-type";
  const reached = (meanings as Readonly<Record<string, number>>)[text ?? ""];
  if (reached === undefined) return "wrong-value";
  appendFileSync(fileOf("writes"), `${oid} ${text}\n`);
  if (outlet.endsWith("4")) return "not-writable";
  if (!outlet.endsWith("3")) writeFileSync(fileOf(`${state}.${outlet}`), String(reached));
  return "DONE";
}

function get(oid: string): string {
  if (!existsSync(fileOf(oid))) return "NONE";
  appendFileSync(fileOf("reads"), `${oid}\n`);
  return `.${oid}\ninteger\n${readFileSync(fileOf(oid), "utf8")}`;
}

await servePassPersist({ get, set });
