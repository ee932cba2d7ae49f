/** Objects behind Debian's snmpd: the side of a `pass_persist` program (snmpd.conf(5)). */

import { createInterface } from "node:readline";

/** OIDs come without a leading dot. */
export interface SnmpObjects {
  /** `.1.2.3`, its type and its value, a line each; or `NONE`. */
  get(oid: string): string | Promise<string>;
  /** Of the first object after `oid`; default: nobody walks here. */
  next?(oid: string): string | Promise<string>;
  /** @param typed - `integer 1` @returns `DONE`, or the name of an error; default: nothing may be written */
  set?(oid: string, typed: string): string | Promise<string>;
}

/** Answers until snmpd closes standard input. */
export async function servePassPersist(objects: SnmpObjects): Promise<void> {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const next = async () => String((await lines.next()).value ?? "").trim();
  const oid = async () => (await next()).replace(/^\./, "");
  const answers: Readonly<Record<string, () => Promise<string> | string>> = {
    PING: () => "PONG",
    get: async () => await objects.get(await oid()),
    getnext: async () => (await objects.next?.(await oid())) ?? "NONE",
    async set() {
      const named = await oid();
      return (await objects.set?.(named, await next())) ?? "not-writable";
    },
  };
  for (let line = await lines.next(); !line.done; line = await lines.next()) {
    const answer = answers[line.value.trim()]; // an empty line follows each set
    if (answer) process.stdout.write(`${await answer()}\n`);
  }
}
