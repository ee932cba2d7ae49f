/** The page in Debian's Chromium, against the admin listener with rooms that only remember. */

import test from "ava";
import { parseIpv4Address } from "#protocol/brand.ts";
import { digest, makeNode, password } from "../http/support.ts";
import { axe, open, signIn, useBrowser } from "./page.ts";

useBrowser();

test("the set-up code makes the first admin, who then sees the rack", async (t) => {
  const { page, server, complaints } = await open(t, { users: false });
  await page.getByLabel("Set-up code").waitFor();
  t.deepEqual(await axe(page), []);
  await page.getByLabel("Set-up code").fill(server.setupCode ?? "");
  await page.getByLabel("Your name").fill("anna");
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Make the first admin" }).click();
  await page.getByRole("heading", { name: "Rack lab" }).waitFor();
  t.is(await page.locator(".tile").count(), 12);
  t.deepEqual(complaints, []);
});

test("a wrong password is refused in words", async (t) => {
  const { page } = await open(t);
  await page.getByLabel("Name").fill("admin");
  await page.getByLabel("Password").fill("wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  t.is(await page.getByRole("alert").textContent(), "wrong name or password");
});

test("the rack page has no accessibility violation, in light and dark, with a node chosen", async (t) => {
  const { page } = await open(t);
  await signIn(page);
  await page.locator('[data-slot="lab/a/1"]').click();
  await page.getByRole("heading", { name: "lab-a-1" }).waitFor();
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    t.deepEqual(await axe(page), []);
  }
});

test("at 360 px nothing sticks out and the tiles are there", async (t) => {
  const { page } = await open(t, { width: 360 });
  await signIn(page);
  t.is(await page.locator(".tile").count(), 12);
  t.is(await page.evaluate("document.documentElement.scrollWidth"), 360);
  t.deepEqual(await axe(page), []);
});

test("a change on the server shows without reloading", async (t) => {
  const { page, server } = await open(t);
  await signIn(page);
  await page.getByText("live", { exact: true }).waitFor();
  server.events.publish({
    topic: "node",
    node: { ...makeNode("a", "2", "installed"), image: digest },
  });
  await page.locator('[data-slot="lab/a/2"].look-installed').waitFor();
  t.pass();
});

test("a node's panel tells why it is stuck, and again when that changes", async (t) => {
  const { page, server, complaints } = await open(t);
  await signIn(page);
  const { mac } = makeNode("a", "1");
  server.store.nodes.put({ ...makeNode("a", "1"), connection: "offline" });
  const ask = (outcome: string) =>
    server.events.publish({ topic: "dhcp", mac, message: "discover", outcome, interface: "lo" });
  ask("unknown-client");
  await page.locator('[data-slot="lab/a/1"]').click();
  const findings = page.getByRole("list", { name: "Diagnosis" });
  await findings.getByText(/1 DISCOVER not answered: nobody knows/).waitFor();
  ask("no-boot-file");
  await findings.getByText(/there is nothing to boot/).waitFor();
  await page.getByText("Time line", { exact: true }).click();
  await page.getByText("DISCOVER: no answer (no-boot-file)").waitFor();
  t.deepEqual(await axe(page), []);
  t.deepEqual(complaints, []);
});

test("a key that asks is approved by the code on the node's screen; a certificate is revoked", async (t) => {
  const { page, server, complaints } = await open(t);
  await signIn(page);
  const node = makeNode("a", "1", "discovered");
  const code = "4F2K-9QX1";
  const asking = {
    ...node,
    asks: [{ code, address: parseIpv4Address("10.77.0.17"), at: server.clock.now() }],
  };
  server.store.nodes.put(asking);
  server.events.publish({ topic: "node", node: asking });
  await page.locator('[data-slot="lab/a/1"]').click();
  t.deepEqual(await axe(page), []);
  await page.getByRole("button", { name: `Approve ${code} from 10.77.0.17` }).click();
  await page.getByText("Asks to enrol").waitFor({ state: "detached" });
  t.deepEqual(server.calls, [`approve ${node.mac} ${code}`]);
  const enrolled = { ...node, certificate: "ab".repeat(32) };
  server.store.nodes.put(enrolled);
  server.events.publish({ topic: "node", node: enrolled });
  await page.getByRole("button", { name: "Revoke certificate" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel(/^Type/).fill("lab-a-1");
  await dialog.getByRole("button", { name: "Revoke" }).click();
  await page.getByText("admin revoked its certificate").first().waitFor();
  t.deepEqual(complaints, []);
});

test("a node's machine is shown with the fault of its disk; it is protected and released", async (t) => {
  const { page, server, complaints } = await open(t);
  await signIn(page);
  const node = makeNode("a", "1");
  const [disk] = node.hardware?.disks ?? [];
  if (!node.hardware || !disk) return t.fail();
  const worn = {
    ...disk,
    serial: "D1",
    health: { passed: false, faults: ["8 sectors reallocated"] },
  };
  server.store.nodes.put({ ...node, hardware: { ...node.hardware, disks: [worn] } });
  const found = server.store.nodes.get(node.id);
  if (found) server.events.publish({ topic: "node", node: found });
  await page.locator('[data-slot="lab/a/1"]').click();
  await page.getByText("vda 4.3 GB, D1, expects to fail, 8 sectors reallocated").waitFor();
  t.deepEqual(await axe(page), []);
  await page.getByRole("button", { name: "Protect…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel(/^Why/).fill("the archive");
  t.deepEqual(await axe(page), []);
  await dialog.getByRole("button", { name: "Protect" }).click();
  await page.getByText("by admin: the archive").first().waitFor();
  await page.getByRole("button", { name: "Release all disks of lab-a-1…" }).click();
  await page.getByRole("dialog").getByLabel(/^Type/).fill("lab-a-1");
  await page.getByRole("dialog").getByRole("button", { name: "Release" }).click();
  await page.getByText("by admin: the archive").first().waitFor({ state: "detached" });
  t.is(server.store.nodes.get(node.id)?.protection, undefined);
  await page.getByRole("button", { name: "Protect…" }).click();
  await dialog.getByLabel("What").selectOption({ label: "disk vda (D1)" });
  await dialog.getByLabel(/^Why/).fill("customer data");
  await dialog.getByRole("button", { name: "Protect" }).click();
  await page.getByRole("button", { name: "Release disk vda (D1)…" }).waitFor();
  t.like(server.store.protectedDisks.get("D1"), { reason: "customer data", by: "admin" });
  t.deepEqual(complaints, []);
});

test("an install is asked for by typing the rack's name, and becomes a job", async (t) => {
  const { page, server } = await open(t);
  await signIn(page);
  await page.getByRole("button", { name: /^Stack a/ }).click();
  await page.getByRole("button", { name: "Install…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("loses everything on vda").first().waitFor();
  t.deepEqual(await axe(page), []);
  const go = dialog.getByRole("button", { name: "Install 4 nodes" });
  t.true(await go.isDisabled());
  await dialog.getByLabel(/^Type/).fill("lab");
  await go.click();
  await page.locator(".tile.look-working").nth(3).waitFor();
  t.true(server.calls.includes("create install 4"));
});

test("a node with root slots is updated, and an image is made of it: both say what would happen", async (t) => {
  const { page, server, complaints } = await open(t);
  await signIn(page);
  const slots = { active: "a", rootBytes: 4 << 30, data: "/srv", bootloader: "grub" } as const;
  const node = { ...makeNode("a", "1", "installed"), installedDisk: { name: "vda", slots } };
  server.store.nodes.put({ ...node, image: digest });
  server.events.publish({ topic: "node", node: { ...node, image: digest } });
  await page.locator('[data-slot="lab/a/1"]').click();
  await page.getByText("a, data in /srv").waitFor();
  const dialog = page.getByRole("dialog");

  await page.getByRole("button", { name: "Update…" }).click();
  await dialog.getByText(/will fail: debian-12 is a whole disk/).waitFor();
  t.deepEqual(await axe(page), []);
  await dialog.getByLabel(/^Kept paths/).fill("/etc/app");
  await dialog.getByRole("button", { name: "Update lab-a-1" }).click();
  await page.getByText(/update of lab-a-1/).waitFor();

  await page.getByRole("button", { name: "Make image…" }).click();
  await dialog.getByLabel(/^Name of the image/).fill("golden");
  await dialog.getByText(/read the files of its disk and make image golden/).waitFor();
  t.deepEqual(await axe(page), []);
  await dialog.getByRole("button", { name: "Make an image of lab-a-1" }).click();
  await page.getByText(/capture of lab-a-1/).waitFor();
  t.deepEqual(server.calls, ["create update 1", "create capture 1"]);
  t.deepEqual(complaints, []);
});

test("markup and scripts in a node's name and log are shown as text and never run", async (t) => {
  const { page, server, complaints } = await open(t);
  await signIn(page);
  const hostile = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;
  server.events.publish({ topic: "node", node: { ...makeNode("a", "1"), name: hostile } });
  server.events.publish({ topic: "alarm", text: hostile });
  await page.locator('[data-slot="lab/a/1"]').getByText("onerror").waitFor();
  await page.locator(".activity").getByText("onerror").waitFor();
  t.is(await page.title(), "marcoboot");
  t.deepEqual(complaints, []);
});
