/**
 * Child of journal-disk.test.ts: changes the journal again and again, or reads one that has been changed so,
 * says what it was refused, and dies. argv: the journal's path, `change` or `read`, how often.
 */

import { writeSync } from "node:fs";
import type { Instant } from "#protocol/brand.ts";
import { UnavailableError } from "../../server/errors.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";

const [, , path = "", what, times = "0"] = process.argv;
const store = openSqliteStore(path);
const filling = "x".repeat(3000); // several pages in all

function change(count: number): void {
  store.transaction(() => {
    store.settings.put("count", String(count));
    store.settings.put(`change ${count}`, filling);
    store.events.append(count as Instant, [{ topic: "alarm", text: String(count) }]);
  });
}

function read(count: number): void {
  if (store.settings.get(`change ${count}`) !== filling) throw new Error(`${count} is another`);
}

writeSync(1, "opened\n");
for (let count = 1; count <= Number(times); count++) {
  try {
    if (what === "read") read(count);
    else change(count);
    writeSync(1, `kept ${count}\n`);
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error;
    writeSync(1, `refused ${count}\n`);
  }
}
process.kill(process.pid, "SIGKILL");
