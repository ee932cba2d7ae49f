/** Child of journal-disk.test.ts: changes the journal again and again, says which changes it was refused, and dies. argv: the journal's path. */

import { writeSync } from "node:fs";
import type { Instant } from "#protocol/brand.ts";
import { UnavailableError } from "../../server/errors.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";

const changes = 60;
const store = openSqliteStore(process.argv[2] ?? "");
writeSync(1, "opened\n");
for (let count = 1; count <= changes; count++) {
  try {
    store.transaction(() => {
      store.settings.put("count", String(count));
      store.settings.put(`change ${count}`, "x".repeat(3000)); // several pages
      store.events.append(count as Instant, [{ topic: "alarm", text: String(count) }]);
    });
    writeSync(1, `kept ${count}\n`);
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error;
    writeSync(1, `refused ${count}\n`);
  }
}
process.kill(process.pid, "SIGKILL");
