/** The rules on the page. */

import test from "ava";
import { axe, open, signIn, useBrowser } from "./page.ts";

useBrowser();

test("a rule is added, tried on a node, and removed", async (t) => {
  const { page, server, complaints } = await open(t, { width: 360 });
  server.store.rules.replace([{ name: "workers", match: { places: ["lab"] } }]);
  await signIn(page);
  const rules = page.getByRole("region", { name: "Rules" });
  await rules.getByText("in lab · server").waitFor();

  await rules.getByRole("button", { name: "Add a rule…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name", { exact: true }).fill("db");
  await dialog.getByText("Only some nodes").click();
  await dialog.getByLabel("In these places").fill("lab/b");
  await dialog.getByText("Disk, keys, burn-in").click();
  await dialog.getByLabel("Tested first").fill("60");
  await dialog.getByLabel("Asked").selectOption("workers");
  await dialog.getByText("in lab/b: test for 60 s, leave alone").waitFor();
  t.deepEqual(await axe(page), []);
  await dialog.getByRole("button", { name: "Add" }).click();
  await dialog.waitFor({ state: "hidden" });
  t.deepEqual(server.store.rules.list(), [
    { name: "db", match: { places: ["lab/b"] }, burnInSeconds: 60 },
    { name: "workers", match: { places: ["lab"] } },
  ]);

  await rules.getByLabel("What would come of them for").selectOption({ index: 1 });
  await rules.getByText("rule workers matches and names no image: it is left alone").waitFor();
  t.deepEqual(await axe(page), []);
  t.is(await page.evaluate("document.documentElement.scrollWidth"), 360);

  await rules.getByRole("button", { name: "Remove rule db" }).click();
  await dialog.getByRole("button", { name: "Remove" }).click();
  await dialog.waitFor({ state: "hidden" });
  t.deepEqual(
    server.store.rules.list().map(({ name }) => name),
    ["workers"],
  );
  t.deepEqual(complaints, []);
});

test("a rule that wipes any disk wants its name typed; a refusal stays in the dialog", async (t) => {
  const { page, server } = await open(t);
  server.store.rules.replace([{ name: "workers", match: {} }]);
  await signIn(page);
  await page.getByRole("button", { name: "Add a rule…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name", { exact: true }).fill("workers");
  await dialog.getByLabel("They install").selectOption({ index: 1 });
  await dialog.getByText("Disk, keys, burn-in").click();
  await dialog.getByLabel("Whatever is on the disk is lost").check();
  const add = dialog.getByRole("button", { name: "Add" });
  t.true(await add.isDisabled());
  await dialog.getByLabel("Type workers to go on").fill("workers");
  await add.click();
  await dialog.getByRole("alert").waitFor();
  t.regex((await dialog.getByRole("alert").textContent()) ?? "", /there is a rule workers/);
  t.is(server.store.rules.list().length, 1);
});
