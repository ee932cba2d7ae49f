/**
 * The outlet table of a switch or PDU behind Debian's snmpd (`pass_persist` of
 * snmpd.conf(5)): its rows are outlets of the laboratory's power strip.
 *
 *   strip-table.ts <socket> <table as JSON>
 */

import { servePassPersist } from "../pass-persist.ts";
import { askStrip } from "./strip-client.ts";

export interface OutletTable {
  /** Column that is written, and the one that is read; without the row's index. */
  readonly control: string;
  readonly state: string;
  /** Integers of both columns. */
  readonly on: number;
  readonly off: number;
  /** Outlet of the strip by index of the row. */
  readonly rows: Readonly<Record<string, string>>;
}

async function get(oid: string, socket: string, table: OutletTable): Promise<string> {
  const outlet = rowOf(oid, table.state, table) ?? rowOf(oid, table.control, table);
  if (outlet === undefined) return "NONE";
  const state = await askStrip(socket, "query", outlet);
  return `.${oid}\ninteger\n${state === "on" ? table.on : table.off}`;
}

async function set(
  oid: string,
  typed: string,
  socket: string,
  table: OutletTable,
): Promise<string> {
  const outlet = rowOf(oid, table.control, table);
  if (outlet === undefined) return "not-writable";
  const [type, text] = typed.split(" ");
  if (type !== "integer") return "wrong-type";
  if (Number(text) !== table.on && Number(text) !== table.off) return "wrong-value";
  await askStrip(socket, Number(text) === table.on ? "on" : "off", outlet);
  return "DONE";
}

function rowOf(oid: string, column: string, { rows }: OutletTable): string | undefined {
  return oid.startsWith(`${column}.`) ? rows[oid.slice(column.length + 1)] : undefined;
}

if (import.meta.main) {
  const [socket = "", text = ""] = process.argv.slice(2);
  const table = JSON.parse(text) as OutletTable;
  await servePassPersist({
    get: (oid) => get(oid, socket, table),
    set: (oid, typed) => set(oid, typed, socket, table),
  });
}
