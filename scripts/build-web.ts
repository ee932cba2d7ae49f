/** Builds the web page when its sources are newer than web/dist. */

import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { build } from "vite";

const root = join(import.meta.dirname, "..");
const web = join(root, "web");
const built = join(web, "dist", "index.html");

/** @returns whether anything had to be built */
export async function ensureWebBuilt(): Promise<boolean> {
  if (modified(built) > newestSource()) return false;
  await build({ root: web, configFile: join(web, "vite.config.ts"), logLevel: "warn" });
  return true;
}

function newestSource(): number {
  const sources = [
    ...filesIn(web).filter((path) => !path.startsWith(join(web, "dist"))),
    ...filesIn(join(root, "server", "protocol")),
    join(root, "package-lock.json"),
  ];
  return Math.max(...sources.map(modified));
}

function filesIn(directory: string): readonly string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Milliseconds since 1970; 0 when it is not there. */
function modified(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

if (import.meta.main) await ensureWebBuilt();
