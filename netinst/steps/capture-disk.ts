/**
 * A disk octet by octet, but for what is nobody's business: blocks that its ext file systems do not
 * use, and the files that make the node itself, are zeros. Zeros pack to nothing.
 */

import { spawn } from "node:child_process";
import { lstatSync, readdirSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DiskError, ToolError } from "../errors.ts";
import { withLoop } from "../loop.ts";
import type { Partition } from "../partition-table.ts";
import { commandOf } from "../tools.ts";
import { extPartitions, findRoot, mounted, type RootContext } from "./capture-root.ts";
import { type Walked, walk } from "./capture-tree.ts";
import { identityPaths, matcherOf } from "./left-out.ts";

/** Octets of the disk, the second not included. */
export type Range = readonly [from: number, to: number];

export interface DiskCapture extends RootContext {
  readonly path: string;
  readonly sizeBytes: number;
  readonly assignment: RootContext["assignment"] & { readonly leaveOut: readonly string[] };
}

const chunkOctets = 1 << 20;

/** @throws AgentError when no clean root file system is found: its secrets could not be left out */
export async function* captureDisk(
  capture: DiskCapture,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void> {
  const { path, sizeBytes, console, settings } = capture;
  const blank = settings.simulate ? [] : mergedRanges(await rangesToBlank(capture));
  signal.throwIfAborted();
  const octets = blank.reduce((sum, [from, to]) => sum + to - from, 0);
  console.info(`${octets} of ${sizeBytes} octets are unused or the node's own: zeros instead`);
  await using disk = await open(path, "r");
  let next = 0; // of `blank`: ranges before it end before `at`
  for (let at = 0; at < sizeBytes; at += chunkOctets) {
    const end = Math.min(at + chunkOctets, sizeBytes);
    while (next < blank.length && (blank[next]?.[1] ?? 0) <= at) next++;
    const [from, to] = blank[next] ?? [end, end];
    if (from <= at && to >= end) {
      yield Buffer.alloc(end - at);
      continue;
    }
    const chunk = Buffer.allocUnsafe(end - at);
    const { bytesRead } = await disk.read(chunk, 0, chunk.length, at).catch((cause: unknown) => {
      throw new DiskError(`reading at ${at} of ${path}`, { cause });
    });
    if (bytesRead < chunk.length) throw new DiskError(`${path} ends at ${at + bytesRead}`);
    for (let index = next; index < blank.length; index++) {
      const [first, last] = blank[index] ?? [end, end];
      if (first >= end) break;
      chunk.fill(0, Math.max(first, at) - at, Math.min(last, end) - at);
    }
    yield chunk;
  }
}

/** Sorted, none touching another. */
export function mergedRanges(ranges: readonly Range[]): readonly Range[] {
  const merged: [number, number][] = [];
  for (const [from, to] of ranges.toSorted(([a], [b]) => a - b)) {
    const last = merged.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged;
}

async function rangesToBlank(capture: DiskCapture): Promise<readonly Range[]> {
  const { path, assignment } = capture;
  const root = await findRoot(path, assignment.slot);
  const isOwn = matcherOf([...identityPaths, ...assignment.leaveOut]);
  const ranges: Range[] = [];
  for (const partition of await extPartitions(path)) {
    if (partition.isUnclean) continue; // its maps may not say what its journal says: all of it is sent
    const files = await mounted(path, partition, (directory) => filesOf(directory, isOwn));
    const isRoot = partition.number === root.number;
    if (files.length > 0) {
      const what = `${files.length} files of partition ${partition.number}`;
      capture.console.info(`left out: ${what}${isRoot ? "" : ", which holds another system"}`);
    }
    ranges.push(
      ...(await withLoop(
        path,
        partition.offset,
        (device) => rangesOf(device, partition, files),
        "read",
      )),
    );
  }
  return ranges;
}

/** Numbers of the regular files that are left out, and of those in directories that are. */
async function filesOf(root: string, isOwn: (path: string) => boolean): Promise<readonly number[]> {
  const walked: Walked = { files: 0, special: 0, leftOut: [] };
  for await (const _ of walk(root, isOwn, walked)); // only for what it leaves out
  const found: number[] = [];
  const add = (path: string) => {
    const status = lstatSync(path);
    if (status.isFile() && status.size > 0) found.push(status.ino);
    if (status.isDirectory()) for (const name of readdirSync(path)) add(join(path, name));
  };
  for (const path of walked.leftOut) add(join(root, path));
  return found;
}

async function rangesOf(
  device: string,
  { offset }: Partition,
  files: readonly number[],
): Promise<readonly Range[]> {
  let blockSize = 0;
  const ranges: Range[] = [];
  const add = (first: number, last: number) =>
    ranges.push([offset + first * blockSize, offset + (last + 1) * blockSize]);
  for await (const line of linesOf("dumpe2fs", [device])) {
    const size = /^Block size: +(\d+)$/.exec(line)?.[1];
    if (size !== undefined) blockSize = Number(size);
    const free = /^ +Free blocks: (.+)$/.exec(line)?.[1];
    for (const part of free?.split(", ") ?? []) {
      const [first, last = first] = part.split("-").map(Number);
      if (first !== undefined && last !== undefined) add(first, last);
    }
  }
  if (blockSize === 0) throw new ToolError(`dumpe2fs does not tell the block size of ${device}`);
  const orders = files.map((number) => `blocks <${number}>\n`).join("");
  for await (const line of linesOf("debugfs", ["-f", "-", device], orders)) {
    if (!/^[\d ]+$/.test(line)) continue; // its version, and each order again
    for (const block of line.trim().split(/ +/)) add(Number(block), Number(block));
  }
  return ranges;
}

/** What a tool prints; its end is awaited. @throws ToolError with its last words */
async function* linesOf(
  name: string,
  args: readonly string[],
  input = "",
): AsyncGenerator<string, void> {
  const [program, all] = commandOf(name, args);
  const child = spawn(program, [...all], { stdio: ["pipe", "pipe", "pipe"] });
  let said = "";
  child.stderr.on("data", (part: Buffer) => {
    said = (said + part.toString("utf8")).slice(-400);
  });
  const ended = new Promise<void>((resolve, reject) => {
    child.on("error", (cause) => reject(new ToolError(`cannot run ${name}`, { cause })));
    child.on("close", (code, signal) => {
      if (code === 0) resolve();
      else reject(new ToolError(`${name} ended with ${signal ?? code}: ${said.trim()}`));
    });
  });
  ended.catch(() => undefined); // awaited below
  child.stdin.on("error", () => undefined); // a tool that ends early closes its input
  child.stdin.end(input);
  yield* createInterface({ input: child.stdout });
  await ended;
}
