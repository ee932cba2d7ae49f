/** How learning looks and is answered, in Debian's Chromium. What the server says of it is written here. */

import test from "ava";
import type { Page } from "playwright-core";
import type { Instant } from "#protocol/brand.ts";
import { parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import type { LearningStatus } from "#protocol/learning.ts";
import { axe, open, signIn, useBrowser } from "./page.ts";

useBrowser();

const mac = parseMacAddress("dc:a6:32:00:00:01");
const other = parseMacAddress("dc:a6:32:00:00:02");
const address = parseIpv4Address("10.77.0.10");
const ref = (stack: string, slot: string) => ({ rack: "lab", stack, slot });

const running: LearningStatus = {
  state: "running",
  ...{
    id: "learning_1",
    rack: "lab",
    doing: "listening to b",
    until: 1_700_000_060_000 as Instant,
  },
  progress: { done: 2, total: 4 },
  slots: [
    { state: "seen", slot: ref("a", "1"), mac },
    { state: "flagged", slot: ref("a", "2"), reason: "silent" },
    { state: "listening", slot: ref("b", "1") },
    { state: "waiting", slot: ref("c", "1") },
  ],
  flagged: [
    { reason: "late", text: "1 of 2 in lab/a silent for 120 s: dark now", stack: "a", answers: [] },
  ],
};
const ended: LearningStatus = {
  ...{ state: "done", id: "learning_1", rack: "lab" },
  slots: [
    { state: "heard", slot: ref("a", "1"), mac, address },
    { state: "flagged", slot: ref("a", "2"), reason: "exchanged?" },
  ],
  flagged: [
    {
      ...{ reason: "swapped", text: "slot lab/a/2 belongs to another: exchanged?", mac: other },
      ...{ remedy: "marcoboot learn confirm", stack: "a", slot: ref("a", "2") },
      answers: ["confirm", "keep"],
    },
    {
      ...{ reason: "foreign", text: "it spoke while every outlet was off", mac: other },
      answers: ["place"],
    },
    {
      ...{ reason: "unconfirmed", text: "by order", stack: "a", slot: ref("a", "1"), mac },
      answers: ["confirm", "swap"],
    },
  ],
};

const path = "**/api/v1/learnings/current";

/** The server's word on learning, and what the page asks it to do. */
async function tell(page: Page, status: LearningStatus): Promise<readonly string[]> {
  const said: string[] = [];
  await page.route(path, (route) => route.fulfill({ json: status }));
  await page.route(`${path}/*`, (route) => {
    const request = route.request();
    said.push(`${request.url().split("/").at(-1)} ${request.postData()}`);
    return route.fulfill({ json: { done: [] } });
  });
  return said;
}

test("while it runs: what is done, how far each stack is, and what is late", async (t) => {
  const { page, complaints } = await open(t);
  await tell(page, running);
  await signIn(page);
  await page.getByRole("heading", { name: "Learning of lab" }).waitFor();
  await page.getByText("listening to b").waitFor();
  t.is(
    await page.getByRole("progressbar", { name: "Slots that are through" }).getAttribute("value"),
    "2",
  );
  t.deepEqual(
    await page.getByRole("list", { name: "Stacks" }).getByRole("listitem").allTextContents(),
    ["a 1 heard, to look at", "b 0 of 1 placed, listening", "c 0 of 1 placed, waiting"],
  );
  t.is(await page.getByRole("button", { name: "Confirm" }).count(), 0, "nothing is asked yet");
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    t.deepEqual(await axe(page), []);
  }
  t.deepEqual(complaints, []);
});

test("when it has ended: questions are answered, boards exchanged and placed", async (t) => {
  const { page, complaints } = await open(t);
  const said = await tell(page, ended);
  await signIn(page);
  const asked = page.getByRole("list", { name: "To look at" });
  const exchanged = asked.getByRole("listitem").filter({ hasText: "swapped" });
  await exchanged.getByRole("button", { name: "Keep as it was" }).click();
  await exchanged.getByRole("button", { name: "Confirm" }).click();
  t.deepEqual(await axe(page), []);
  await page.getByRole("button", { name: "Exchanged" }).click();
  const foreign = asked.getByRole("listitem").filter({ hasText: "foreign" });
  await foreign.getByRole("button", { name: "Place…" }).click();
  await page.getByRole("button", { name: "It is there" }).click();
  const guessed = asked.getByRole("listitem").filter({ hasText: "unconfirmed" });
  await guessed.getByRole("button", { name: "Swap…" }).click();
  await page.getByRole("button", { name: "Exchange", exact: true }).click();
  const answered = page.waitForResponse("**/confirm");
  await guessed.getByRole("button", { name: "Confirm" }).click();
  await answered;
  t.deepEqual(said, [
    `keep {"targets":["${other}"]}`,
    `confirm {"targets":["${other}"]}`,
    `place {"mac":"${other}","slot":"a/2"}`,
    'swap {"one":"a/1","other":"a/2"}',
    'confirm {"targets":["a"]}',
  ]);
  t.deepEqual(complaints, []);
});

test("at 360 px nothing sticks out", async (t) => {
  const { page } = await open(t, { width: 360 });
  await tell(page, ended);
  await signIn(page);
  await page.getByRole("heading", { name: "Learning of lab" }).waitFor();
  t.is(await page.evaluate("document.documentElement.scrollWidth"), 360);
  t.deepEqual(await axe(page), []);
});

test("the question says what would be switched before it is asked", async (t) => {
  const { page, server, complaints } = await open(t);
  await signIn(page);
  await page.getByRole("button", { name: "Learn…" }).click();
  await page.getByText("Outlets: 1, slots: 1, nodes that lose their power: 0").waitFor();
  t.deepEqual(await axe(page), []);
  t.true(await page.getByRole("button", { name: "Switch off and learn" }).isDisabled());
  await page.getByLabel("Type lab to go on").fill("lab");
  await page.getByRole("button", { name: "Switch off and learn" }).click();
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  t.true(server.calls.includes("learn lab"));
  t.deepEqual(complaints, []);
});
