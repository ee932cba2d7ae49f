/** What is planned, and a roll-out that was paused, on the page. */

import test from "ava";
import type { Job, Task, TaskState } from "#protocol/job.ts";
import type { Schedule } from "#protocol/schedule.ts";
import { start } from "../http/support.ts";
import { axe, open, signIn, useBrowser } from "./page.ts";

useBrowser();

const job = {
  id: "job_9",
  kind: "reboot",
  parameters: { warnSeconds: 0 },
  state: "running",
  selector: "stack:lab/a",
  createdBy: "admin",
  rollout: { canary: 1, failures: 0, settleSeconds: 30, health: ["port:22"] },
  health: { batch: 0, jobs: [], endedAt: start, healthy: 0, of: 1 },
  paused: { at: start, by: "server", reason: "1 of 1 canary nodes failed" },
  waitsFor: "paused by server: 1 of 1 canary nodes failed",
  createdAt: start,
} as unknown as Job; // its ids are plain text here

const task = (slot: number, batch: number, state: TaskState) =>
  ({
    id: `task_9_${slot}`,
    jobId: job.id,
    nodeId: `node_a${slot}`,
    kind: "reboot",
    state,
    batch,
    epoch: 1,
    percent: 0,
    stageSeconds: {},
    createdAt: start,
    ...(state === "failed" && { reason: "it did not come back" }),
  }) as unknown as Task;

test("a job is asked for with a window, a canary and batches", async (t) => {
  const { page, server } = await open(t);
  server.store.windows.put({
    name: "night",
    effect: "allows",
    opens: "daily 02:00",
    minutes: 60,
    zone: "UTC",
  });
  await signIn(page);
  await page.getByRole("button", { name: /^Stack a/ }).click();
  await page.getByRole("button", { name: "Reboot…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("When, and how many at a time").click();
  await dialog.getByLabel("Begin").selectOption("night");
  await dialog.getByLabel("Nodes that go first, alone").fill("1");
  await dialog.getByLabel("Nodes at a time").fill("25%");
  await dialog.getByLabel("What each must pass afterwards").fill("online, port:22");
  t.deepEqual(await axe(page), []);
  await dialog.getByRole("button", { name: "Reboot 4 nodes" }).click();
  await dialog.waitFor({ state: "hidden" });
  t.like(server.store.jobs.list({ limit: 1 })[0], {
    kind: "reboot",
    window: "night",
    rollout: { canary: 1, batch: "25%", health: ["online", "port:22"] },
  });
});

test("a paused roll-out says why, and is resumed; windows and schedules are listed", async (t) => {
  const { page, server, complaints } = await open(t);
  server.store.windows.put({
    name: "night",
    effect: "allows",
    opens: "daily 02:00",
    minutes: 60,
    zone: "UTC",
  });
  server.store.schedules.put({
    name: "weekly",
    at: "sun 03:00",
    zone: "UTC",
    kind: "reboot",
    selector: "all",
    parameters: {},
    missed: "skip",
    overlap: "skip",
    isPaused: false,
    createdBy: "admin",
    createdAt: start,
  } as Schedule);
  server.store.jobs.put(job);
  for (const one of [task(1, 0, "failed"), task(2, 1, "waiting"), task(3, 1, "waiting")]) {
    server.store.tasks.put(one);
  }
  await signIn(page);
  await page.getByText("Waits: paused by server: 1 of 1 canary nodes failed").waitFor();
  await page.getByText("2 waiting").waitFor();
  await page.getByText("Health: 0 of 1 in the canary healthy: port:22").waitFor();
  await page.getByText("it did not come back").first().waitFor();
  t.is(await page.getByRole("heading", { name: "Planned" }).count(), 1);
  t.deepEqual(await axe(page), []);
  await page.getByRole("button", { name: "Resume" }).first().click();
  await page.getByRole("button", { name: "Pause weekly" }).click();
  await page.getByText("paused", { exact: false }).first().waitFor();
  while (!server.store.schedules.get("weekly")?.isPaused) await page.waitForTimeout(20);
  t.true(server.calls.includes("resume job_9 by admin"));
  t.deepEqual(complaints, []);
});

test("windows and schedules are made, changed as they were read, seen in their week, and forgotten", async (t) => {
  const { page, server, complaints } = await open(t, { width: 360 });
  await signIn(page);
  const dialog = page.getByRole("dialog");
  await page.getByRole("button", { name: "Add a window" }).click();
  await dialog.getByRole("textbox", { name: "Name" }).fill("night");
  await dialog.getByLabel("Opens").fill("daily 25:00");
  await dialog.getByLabel("Time zone").fill("Asia/Tokyo");
  t.deepEqual(await axe(page), []);
  await dialog.getByRole("button", { name: "Keep", exact: true }).click();
  await dialog.getByRole("alert").waitFor();
  await dialog.getByLabel("Opens").fill("daily 02:00");
  await dialog.getByRole("button", { name: "Keep", exact: true }).click();
  await page.getByText(/opens in .*: .*, 02:00 in Asia\/Tokyo/).waitFor();

  await page.getByRole("button", { name: "Add a schedule" }).click();
  await dialog.getByRole("textbox", { name: "Name" }).fill("weekly");
  await dialog.getByLabel(/^Nodes rack/).fill("rack:lab");
  await dialog.getByLabel(/^When sun/).fill("daily 03:00");
  await dialog.getByLabel("Time zone").fill("UTC");
  await dialog.getByText("When, and how many at a time").click();
  await dialog.getByLabel("Begin").selectOption("night");
  await dialog.getByLabel("Nodes that go first, alone").fill("1");
  await dialog.getByRole("button", { name: "Keep", exact: true }).click();
  await page.getByText("reboot of rack:lab").first().waitFor();
  const made = server.store.schedules.get("weekly");
  t.like(made, { at: "daily 03:00", zone: "UTC", window: "night", rollout: { canary: 1 } });

  const week = page.getByRole("region", { name: "The next seven days" });
  await week.getByLabel("Times of").selectOption("Asia/Tokyo");
  t.true((await week.getByText("02:00–04:00").count()) >= 6);
  t.deepEqual(await axe(page), []);
  const wide = await page.evaluate("document.documentElement.scrollWidth");
  t.true(Number(wide) <= 360, `${wide} px wide`);

  await page.getByRole("button", { name: "Change weekly" }).click();
  await dialog.getByLabel(/^When sun/).fill("daily 05:00");
  if (made) server.store.schedules.put({ ...made, selector: "stack:lab/a" }); // somebody was quicker
  await dialog.getByRole("button", { name: "Keep", exact: true }).click();
  await dialog.getByText("schedule weekly was changed meanwhile: read it again").waitFor();
  await dialog.getByRole("button", { name: "Keep as it is" }).click();
  await page.getByRole("button", { name: "Change weekly" }).click();
  await dialog.getByLabel(/^When sun/).fill("daily 05:00");
  await dialog.getByRole("button", { name: "Keep", exact: true }).click();
  await dialog.waitFor({ state: "hidden" });
  const changed = server.store.schedules.get("weekly");
  t.like(changed, { at: "daily 05:00", selector: "stack:lab/a", window: "night" });

  for (const name of ["weekly", "night"]) {
    await page.getByRole("button", { name: `Remove ${name}` }).click();
    await dialog.getByRole("button", { name: "Forget it" }).click();
    await dialog.waitFor({ state: "hidden" });
  }
  await page.getByText("Nothing happens by itself so far.").waitFor();
  t.deepEqual(server.store.windows.list(), []);
  t.deepEqual(
    complaints.filter((text) => !/40[09]|412/.test(text)),
    [],
  );
});
