/**
 * Child of little-memory.test.ts: installs an image by the agent's own steps, with a file as disk, and
 * prints how much memory it took, in kB. argv: the image's address, its manifest, the disk.
 */

import { readFileSync, statSync } from "node:fs";
import type { ImageManifest } from "#protocol/image.ts";
import { openConsole } from "../../netinst/console.ts";
import { openDisk } from "../../netinst/disk.ts";
import { installRaw } from "../../netinst/steps/install-raw.ts";

const [url = "", manifest = "", path = ""] = process.argv.slice(2);

function kilobytes(name: "VmRSS" | "VmHWM"): number {
  const status = readFileSync("/proc/self/status", "utf8");
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]);
}

const console = openConsole(false);
const { size: sizeBytes } = statSync(path);
const disk = await openDisk({ name: "played", sizeBytes, removable: false }, path);
const before = kilobytes("VmRSS");
await installRaw(
  {
    disk,
    source: {
      url,
      ticket: "good-ticket",
      manifest: JSON.parse(manifest) as ImageManifest,
      console,
    },
    reporter: { progress: () => undefined },
    console,
    configure: () => [],
    playedDisk: path,
  },
  new AbortController().signal,
);
await disk.close();
process.stdout.write(`${JSON.stringify({ before, peak: kilobytes("VmHWM") })}\n`);
