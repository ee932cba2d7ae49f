import test from "ava";
import { createPlanned } from "../../web/state/planned.ts";

function start(refusal?: string) {
  const asked: string[] = [];
  const planned = createPlanned({
    viewersZone: "UTC",
    now: () => Date.parse("2026-11-21T12:00Z"),
    get: async <Answer>(path: string) => {
      asked.push(path);
      if (refusal !== undefined) throw new Error(refusal);
      const isCalendar = path.startsWith("/api/v1/calendar");
      return (isCalendar ? { entries: [], isWhole: false } : { items: [{ name: path }] }) as Answer;
    },
  });
  return { planned, asked };
}

test("windows, schedules and the days of the week shown are read", async (t) => {
  const { planned, asked } = start();
  planned.week.value = 1;
  await planned.read();
  t.is(planned.windows.value[0]?.name, "/api/v1/windows");
  t.is(planned.schedules.value[0]?.name, "/api/v1/schedules");
  t.false(planned.calendar.value.isWhole);
  t.is(asked[2], `/api/v1/calendar?from=${Date.parse("2026-11-27T10:00Z")}&days=9`);
  t.is(planned.refusal.value, undefined);
});

test("a request that is refused says why, and nothing is read", async (t) => {
  const { planned, asked } = start();
  await planned.attempt(() => Promise.reject(new Error("window night is needed")));
  t.is(planned.refusal.value, "window night is needed");
  t.deepEqual(asked, []);
  await planned.read();
  t.is(planned.refusal.value, undefined);
});

test("what cannot be read is said", async (t) => {
  const { planned } = start("no way to the server");
  await planned.read();
  t.is(planned.refusal.value, "no way to the server");
});
