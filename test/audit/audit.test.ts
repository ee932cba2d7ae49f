import test from "ava";
import { createAudit } from "../../server/audit/audit.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { createFakeClock } from "../support/fake-clock.ts";

test("entries come back newest first, page by page, with their time", (t) => {
  const store = openSqliteStore(":memory:");
  t.teardown(() => store.close());
  const clock = createFakeClock(1000);
  const audit = createAudit({ store, clock });
  audit.append("ada", "job created", "job_1", "install on all");
  clock.advance(5);
  audit.append("server", "power off", "rack/a/1");
  const [newest, ...none] = audit.list({ limit: 1 });
  t.is(none.length, 0);
  t.like(newest, { at: 1005, who: "server", what: "power off", target: "rack/a/1" });
  const [oldest] = audit.list({ limit: 5, before: newest?.id ?? 0 });
  t.like(oldest, { at: 1000, who: "ada", detail: "install on all" });
});
