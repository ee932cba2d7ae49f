/**
 * Child of little-memory.test.ts: writes an image by the agent's own steps, a disk into a file, a tree
 * into a directory, and prints how much memory it took, in kB. argv: address, manifest, target.
 */

import { readFileSync, statSync } from "node:fs";
import type { ImageManifest } from "#protocol/image.ts";
import { openConsole } from "../../netinst/console.ts";
import { openDisk } from "../../netinst/disk.ts";
import { type ImageSource, streamImage } from "../../netinst/image-stream.ts";
import { installRaw } from "../../netinst/steps/install-raw.ts";
import { openTreeUnpacker, verifyTree } from "../../netinst/steps/unpack-tree.ts";

const [url = "", text = "", path = ""] = process.argv.slice(2);
const console = openConsole(false);
const manifest = JSON.parse(text) as ImageManifest;
const source: ImageSource = { url, ticket: "good-ticket", manifest, console };
const { signal } = new AbortController();

function kilobytes(name: "VmRSS" | "VmHWM"): number {
  const status = readFileSync("/proc/self/status", "utf8");
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]);
}

async function writeDisk(): Promise<void> {
  const { size: sizeBytes } = statSync(path);
  const disk = await openDisk({ name: "played", sizeBytes, removable: false }, path);
  const reporter = { progress: () => undefined };
  const steps = { disk, source, reporter, console, configure: () => [], playedDisk: path };
  await installRaw(steps, signal);
  await disk.close();
}

async function writeTree(): Promise<void> {
  await using unpacker = openTreeUnpacker(path);
  await streamImage(source, (chunk) => unpacker.write(chunk), signal);
  const { sums } = await unpacker.end();
  await verifyTree(path, sums, () => undefined, signal);
}

const before = kilobytes("VmRSS");
await (manifest.format === "raw" ? writeDisk() : writeTree());
process.stdout.write(`${JSON.stringify({ before, peak: kilobytes("VmHWM") })}\n`);
