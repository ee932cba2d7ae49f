import test from "ava";
import { createGather } from "../../server/job/gather.ts";

/** Counts outermost changes; `undo` is what a change that threw gets. */
function rooms() {
  let depth = 0;
  const log: string[] = [];
  const together = <T>(work: () => T): T => {
    depth += 1;
    try {
      const value = work();
      if (depth === 1) log.push("commit");
      return value;
    } catch (error) {
      log.push(depth === 1 ? "undo all" : "undo one");
      throw error;
    } finally {
      depth -= 1;
    }
  };
  return { log, together, gather: createGather(together) };
}

test("changes of one moment are one transaction, told after it", async (t) => {
  const { log, gather } = rooms();
  const work = (name: string) => gather(() => log.push(name)).then(() => log.push(`${name} told`));
  await Promise.all([work("a"), work("b")]);
  t.deepEqual(log, ["a", "b", "commit", "a told", "b told"]);
  await work("c");
  t.deepEqual(log.slice(5), ["c", "commit", "c told"]);
});

test("a change that throws is undone alone, and its asker told", async (t) => {
  const { log, gather } = rooms();
  const wrong = gather(() => {
    throw new RangeError("no");
  });
  const right = gather(() => 7);
  await t.throwsAsync(wrong, { instanceOf: RangeError });
  t.is(await right, 7);
  t.deepEqual(log, ["undo one", "commit"]);
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
