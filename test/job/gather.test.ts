import test from "ava";
import { createGather } from "../../server/job/gather.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";

/** A journal's settings; `commits` counts the changes that ended. */
function openJournal() {
  const store = openSqliteStore(":memory:");
  const log: string[] = [];
  const together = <T>(work: () => T): T => {
    const value = store.transaction(work, { isWhole: true });
    store.afterCommit(() => log.push("commit"));
    return value;
  };
  const put = (name: string) => () => {
    log.push(name);
    store.transaction(() => store.settings.put(name, "written"));
    return name;
  };
  const fail = (): never => {
    throw new RangeError("no");
  };
  return { store, log, put, fail, gather: createGather(together) };
}

test("changes of one moment are one transaction, told after it", async (t) => {
  const { log, put, gather } = openJournal();
  const work = (name: string) => gather(put(name)).then(() => log.push(`${name} told`));
  await Promise.all([work("a"), work("b")]);
  // Each part is a change, which ends with the whole.
  t.deepEqual(log, ["a", "b", "commit", "commit", "commit", "a told", "b told"]);
});

test("a change that throws before it has written leaves the others alone", async (t) => {
  const { log, put, fail, gather } = openJournal();
  const wrong = gather(fail);
  const right = gather(put("a"));
  await t.throwsAsync(wrong, { instanceOf: RangeError });
  t.is(await right, "a");
  t.is(log.filter((one) => one === "a").length, 1);
});

test("a change that throws after it has written is undone alone: the others are made again", async (t) => {
  const { store, log, put, fail, gather } = openJournal();
  const wrong = gather(() => {
    put("wrong")();
    fail();
  });
  const right = gather(put("right"));
  await t.throwsAsync(wrong, { instanceOf: RangeError, message: "no" });
  t.is(await right, "right");
  t.deepEqual(["wrong", "right"].map(store.settings.get), [undefined, "written"]);
  t.is(log.filter((one) => one === "right").length, 2);
});

test("when the disk refuses the whole, everybody is told", async (t) => {
  const gather = createGather(() => {
    throw new RangeError("full");
  });
  const outcomes = await Promise.allSettled([gather(() => 1), gather(() => 2)]);
  t.deepEqual(
    outcomes.map(({ status }) => status),
    ["rejected", "rejected"],
  );
});
