/** The page in Debian's Chromium, against the admin listener with rooms that only remember. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import test from "ava";
import { type Browser, chromium, type Page } from "playwright-core";
import { ensureWebBuilt } from "../../scripts/build-web.ts";
import { password, startTestServer, type TestServer } from "../http/support.ts";

const flags = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const axeSource = readFileSync(
  createRequire(import.meta.url).resolve("axe-core/axe.min.js"),
  "utf8",
);

let browser: Browser;

/** One browser for the tests of a file: it starts slowly. */
export function useBrowser(): void {
  test.before(async () => {
    await ensureWebBuilt();
    browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: flags });
  });
  test.after.always(() => browser?.close());
}

export interface Opened {
  readonly page: Page;
  readonly server: TestServer;
  /** What the browser complained about: scripts refused by the policy, exceptions. */
  readonly complaints: readonly string[];
}

export async function open(
  context: { teardown(work: () => Promise<void>): void },
  options: { users?: boolean; width?: number } = {},
): Promise<Opened> {
  const server = await startTestServer({ users: options.users ?? true });
  const page = await browser.newPage({
    viewport: { width: options.width ?? 1360, height: 900 },
    reducedMotion: "reduce",
    timezoneId: "UTC",
  });
  page.setDefaultTimeout(15_000);
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" && !message.text().includes("401")) {
      complaints.push(message.text());
    }
  });
  context.teardown(async () => {
    await page.close();
    await server.close();
  });
  await page.goto(server.url);
  return { page, server, complaints };
}

export async function signIn(page: Page): Promise<void> {
  await page.getByLabel("Name").fill("admin");
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Rack lab" }).waitFor();
}

/** Ids of the rules that are broken, with the elements. */
export async function axe(page: Page): Promise<readonly string[]> {
  return page.evaluate(`${axeSource}; axe.run().then((found) =>
    found.violations.map((one) => one.id + ": " + one.nodes.map((node) => node.html).join(" ")))`);
}
