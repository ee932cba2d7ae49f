/** Child of sqlite.test.ts: writes events and says so, until it is killed. argv: the journal's path. */

import { writeSync } from "node:fs";
import type { Instant } from "#protocol/brand.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";

const store = openSqliteStore(process.argv[2] ?? "");
for (let count = 1; ; count++) {
  store.transaction(() => {
    store.settings.put("count", String(count));
    store.events.append(count as Instant, [{ topic: "alarm", text: String(count) }]);
  });
  // Acknowledged: whoever reads this may rely on it.
  writeSync(1, `${count}\n`);
}
