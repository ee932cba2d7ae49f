import { truncateSync, writeFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { createFileSlices, sliceBytes } from "../../server/http/file-slices.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const content = Buffer.from(
  Uint8Array.from({ length: 2 * sliceBytes + 5 }, (_, at) => (at * 31 + (at >> 9)) & 0xff),
);

/** A file, and how often it was read from. */
async function opened(t: ExecutionContext, version = "v1") {
  const path = join(temporaryDirectory(t), "file");
  writeFileSync(path, content);
  const real = await open(path, "r");
  t.teardown(() => real.close());
  const reads: number[] = [];
  const handle = {
    read: (buffer: Buffer, offset: number, length: number, position: number) => {
      reads.push(position);
      return real.read(buffer, offset, length, position);
    },
  } as unknown as FileHandle;
  return { path, reads, file: { handle, version, size: content.length } };
}

test("a slice that many ask for at once is read once", async (t) => {
  const { file, reads } = await opened(t);
  const slices = createFileSlices();
  const answers = await Promise.all([0, 0, 7, 0].map((at) => slices.read(file, at)));
  t.deepEqual(reads, [0]);
  t.is(Buffer.compare(answers[0] ?? content, content.subarray(0, sliceBytes)), 0);
  t.is(Buffer.compare(answers[2] ?? content, content.subarray(7, sliceBytes)), 0);
});

test("the last slice ends with the file, and nothing is behind it", async (t) => {
  const { file } = await opened(t);
  const slices = createFileSlices();
  const last = await slices.read(file, 2 * sliceBytes + 1);
  t.is(Buffer.compare(last, content.subarray(2 * sliceBytes + 1)), 0);
  t.is((await slices.read(file, content.length)).length, 0);
});

test("a file that became shorter ends early", async (t) => {
  const { file, path } = await opened(t);
  truncateSync(path, sliceBytes + 1);
  const slices = createFileSlices();
  t.is((await slices.read(file, sliceBytes)).length, 1);
  t.is((await slices.read(file, 2 * sliceBytes)).length, 0);
});

test("another version of the file is read anew", async (t) => {
  const { file, reads } = await opened(t);
  const slices = createFileSlices();
  await slices.read(file, 0);
  await slices.read({ ...file, version: "v2" }, 0);
  t.deepEqual(reads, [0, 0]);
});

test("a read that failed is tried again by the next", async (t) => {
  const { file } = await opened(t);
  const slices = createFileSlices();
  const broken = { read: () => Promise.reject(new Error("EIO")) } as unknown as FileHandle;
  await t.throwsAsync(slices.read({ ...file, handle: broken }, 0), { message: "EIO" });
  t.is((await slices.read(file, 0)).length, sliceBytes);
});

test("the oldest slices give way", async (t) => {
  const { file, reads } = await opened(t);
  const slices = createFileSlices();
  await slices.read(file, 0);
  for (let version = 0; version < 256; version += 1) {
    await slices.read({ ...file, version: `other ${version}` }, 2 * sliceBytes);
  }
  await slices.read(file, 0);
  t.is(reads.filter((at) => at === 0).length, 2);
});
