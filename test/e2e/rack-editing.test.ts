/** Racks and their outlets, changed on the page. */

import test from "ava";
import { axe, open, signIn, useBrowser } from "./page.ts";

useBrowser();

test("an outlet is described by its driver's form, tried, and kept; its secret stays with the server", async (t) => {
  const { page, server, complaints } = await open(t);
  await signIn(page);
  await page.getByRole("button", { name: "Outlets…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel(/^Outlet of/).selectOption("b/2");
  await dialog.getByLabel("Driver").selectOption("ipmi");
  await dialog.getByLabel(/^host/).fill("10.0.0.5");
  await dialog.getByLabel(/^user/).fill("ada");
  await dialog.getByLabel(/^password/).fill("canary-password");
  t.deepEqual(await axe(page), []);
  await dialog.getByRole("button", { name: /^Test/ }).click();
  await dialog.getByText("it answers: off").waitFor();
  await dialog.getByRole("button", { name: "Keep", exact: true }).click();
  await dialog.waitFor({ state: "detached" });
  const slot = () => server.store.racks.get("lab")?.stacks[1]?.slots[1];
  t.deepEqual(slot()?.outlet?.settings, {
    host: "10.0.0.5",
    user: "ada",
    password: "canary-password", // the test server seals nothing
  });

  await page.getByRole("button", { name: "Outlets…" }).click();
  await dialog.getByLabel(/^Outlet of/).selectOption("b/2");
  t.is(await dialog.getByLabel(/^password/).inputValue(), "");
  await dialog.getByLabel(/^cipherSuite/).selectOption("17");
  await dialog.getByRole("button", { name: "Keep", exact: true }).click();
  await dialog.waitFor({ state: "detached" });
  t.like(slot()?.outlet?.settings, { password: "canary-password", cipherSuite: 17 });
  t.false((await page.content()).includes("canary"));
  t.deepEqual(complaints, []);
});

test("a rack's file shows what it would change before it is kept, and what is wrong with it by line", async (t) => {
  const { page, server } = await open(t);
  await signIn(page);
  await page.getByRole("button", { name: "File…" }).click();
  const dialog = page.getByRole("dialog");
  const file = dialog.getByLabel(/^YAML/);
  const text = await file.inputValue();
  await file.fill(text.replace("stacks:", "stocks:"));
  await dialog.getByRole("button", { name: "What would change?" }).click();
  await dialog.getByText(/line 2: the rack has no member "stocks"/).waitFor();
  await file.fill(`${text}addresses: { first: 10.77.0.20 }\n`);
  await dialog.getByRole("button", { name: "What would change?" }).click();
  await dialog.getByText("lab/a/1 address").waitFor();
  t.deepEqual(await axe(page), []);
  await dialog.getByRole("button", { name: "Keep", exact: true }).click();
  await dialog.waitFor({ state: "detached" });
  t.is(server.store.racks.get("lab")?.stacks[0]?.slots[0]?.address, "10.77.0.20");
});

test("power is switched for what was chosen", async (t) => {
  const { page, server } = await open(t);
  await signIn(page);
  await page.locator('[data-slot="lab/b/1"]').click();
  await page.getByRole("button", { name: "Power…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Outlet").selectOption("cycle");
  t.deepEqual(await axe(page), []);
  await dialog.getByLabel(/cut the power at once/).check();
  await dialog.getByRole("button", { name: "Switch off and on" }).click();
  await dialog.waitFor({ state: "detached" });
  t.true(server.calls.includes("cut lab/b/1, on again"));
});
