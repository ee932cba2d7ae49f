/** `window`, `schedule`, and what `job` has of them. */

import test, { type ExecutionContext } from "ava";
import { startTestServer, type TestServer, tokens } from "../http/support.ts";
import { run } from "./support.ts";

async function start(t: ExecutionContext): Promise<TestServer> {
  const server = await startTestServer();
  t.teardown(server.close);
  return server;
}

const admin = { token: tokens.admin };

test("a window is shown before it is made, made, listed and removed", async (t) => {
  const server = await start(t);
  const words = ["window", "add", "night", "--opens", "daily 02:00", "--minutes", "90"];
  const zone = ["--zone", "Europe/Madrid"];
  const dry = await run([...words, ...zone, "--dry-run"], server, admin);
  t.is(dry.code, 0, dry.err);
  t.is(dry.out.trim().split("\n").length, 5);
  t.regex(dry.out, / 02:00 CES?T\t.* 03:30 CES?T/);
  t.deepEqual(server.store.windows.list(), []);
  t.is((await run([...words, ...zone], server, admin)).out, dry.out);
  const list = await run(["window", "list"], server, admin);
  t.regex(list.out, /^night\tallows\tdaily 02:00\t90\tEurope\/Madrid\tclosed\t/);
  t.is((await run(["window", "next", "night"], server, admin)).out, dry.out);
  t.is((await run(["window", "remove", "night", "--yes"], server, admin)).code, 0);
  t.deepEqual(server.store.windows.list(), []);
});

test("a window and a schedule are changed in part, and are on the calendar", async (t) => {
  const server = await start(t);
  const window = ["window", "add", "night", "--opens", "daily 02:00", "--minutes", "90"];
  await run([...window, "--zone", "UTC", "--forbid"], server, admin);
  const longer = await run(["window", "set", "night", "--minutes", "120"], server, admin);
  t.regex(longer.out, / 02:00 UTC\t.* 04:00 UTC/);
  t.like(server.store.windows.get("night"), { effect: "forbids", minutes: 120, zone: "UTC" });
  const schedule = ["schedule", "add", "weekly", "reboot", "--at", "sun 03:00", "--zone", "UTC"];
  await run([...schedule, "--select", "all", "--within", "60", "--warn", "9"], server, admin);
  const set = ["schedule", "set", "weekly", "--at", "daily 04:00", "--without", "within"];
  t.is((await run([...set, "--dry-run"], server, admin)).out.match(/ 04:00 UTC$/gm)?.length, 5);
  t.like(server.store.schedules.get("weekly"), { at: "sun 03:00", withinMinutes: 60 });
  t.is((await run([...set, "--canary", "1"], server, admin)).code, 0);
  const changed = server.store.schedules.get("weekly");
  t.like(changed, { at: "daily 04:00", parameters: { warnSeconds: 9 }, rollout: { canary: 1 } });
  t.is(changed?.withinMinutes, undefined);
  const wrong = await run(["schedule", "set", "weekly", "--without", "zone"], server, admin);
  t.regex(wrong.err, /--without zone: only window, within, rollout can be left out/);
  const calendar = await run(["calendar", "--days", "2", "--zone", "UTC"], server, admin);
  t.is(calendar.out.match(/\tblackout: nothing planned begins\tnight\t/g)?.length, 2);
  t.is(calendar.out.match(/ 04:00 UTC\t-\tschedule\tweekly\treboot of all$/gm)?.length, 2);
});

test("a schedule shows its next five runs, is paused, resumed and run", async (t) => {
  const server = await start(t);
  const words = ["schedule", "add", "weekly", "reboot", "--at", "sun 03:00", "--zone", "UTC"];
  const more = ["--select", "rack:lab", "--batch", "25%", "--budget", "2", "--missed", "run-once"];
  const health = ["--health", "online, port:22"];
  const made = await run([...words, ...more, ...health], server, admin);
  t.is(made.code, 0, made.err);
  t.is(made.out.match(/^Sun .* 03:00 UTC$/gm)?.length, 5);
  t.like(server.store.schedules.get("weekly"), {
    selector: "rack:lab",
    parameters: { warnSeconds: 0 },
    missed: "run-once",
    rollout: { batch: "25%", failures: 2, settleSeconds: 30, health: ["online", "port:22"] },
  });
  t.is((await run(["schedule", "pause", "weekly"], server, admin)).out, "weekly is paused\n");
  t.regex((await run(["schedule", "list"], server, admin)).out, /\tpaused\t-$/m);
  t.regex((await run(["schedule", "resume", "weekly"], server, admin)).out, /is due Sun /);
  t.is((await run(["schedule", "run", "weekly", "--yes"], server, admin)).out, "job_1\n");
  t.is((await run(["schedule", "remove", "weekly", "--yes"], server, admin)).code, 0);
});

test("a job's dry run tells batches and what it waits for", async (t) => {
  const server = await start(t);
  const ran = await run(
    [
      ...["job", "create", "reboot", "--select", "slot:lab/a/1-3", "--canary", "1"],
      ...["--at", "2031-01-01 02:00", "--zone", "Europe/Madrid", "--dry-run"],
    ],
    server,
    admin,
  );
  t.is(ran.code, 0, ran.err);
  t.regex(ran.err, /waits: begins Wed 2031-01-01 02:00 CET/);
  t.deepEqual(
    ran.out
      .trim()
      .split("\n")
      .map((line) => `${line.split("\t")[0]} ${line.split("\t")[4]}`),
    ["lab-a-1 1", "lab-a-2 2", "lab-a-3 2"],
  );
});

test("a job is paused, resumed and tried again, and a node left out", async (t) => {
  const server = await start(t);
  await run(["job", "create", "reboot", "--select", "stack:lab/a", "--yes"], server, admin);
  for (const words of [
    ["job", "pause", "job_1", "--reason", "lunch"],
    ["job", "resume", "job_1"],
    ["job", "retry", "job_1", "--yes"],
    ["job", "skip", "job_1", "lab-a-2", "--yes"],
  ]) {
    const ran = await run(words, server, admin);
    t.is(ran.code, 0, ran.err);
  }
  t.deepEqual(server.calls.slice(1), [
    "pause job_1 by admin: lunch",
    "resume job_1 by admin",
    "retry job_1 by admin",
    "cancel task_1_node_a2 by admin",
  ]);
  const other = await run(["job", "skip", "job_1", "lab-b-1", "--yes"], server, admin);
  t.is(other.code, 5);
});

const wrong = [
  ["a batch of half a node", ["--batch", "0.5"], /--batch 0.5 is not a whole number/],
  ["a budget in words", ["--budget", "some"], /--budget some is not a whole number/],
  [
    "a window nobody knows",
    ["--window", "night", "--dry-run"],
    /no window "night": there is none yet/,
  ],
  ["a zone nobody knows", ["--at", "2030-01-01 00:00", "--zone", "Moon"], /"Moon" is no time zone/],
] as const;
for (const [title, words, message] of wrong) {
  test(`${title} is refused`, async (t) => {
    const server = await start(t);
    const ran = await run(
      ["job", "create", "reboot", "--select", "all", "--yes", ...words],
      server,
      admin,
    );
    t.not(ran.code, 0);
    t.regex(ran.err, message);
    t.deepEqual(server.calls, []);
  });
}
