/** What agents send: parts in order or again, whole or not at all, and gone when nobody wants it. */

import { createHash, randomBytes } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import type { TaskId } from "#protocol/brand.ts";
import { createUploads } from "../../images/uploads.ts";
import { ConflictError } from "../../server/errors.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const taskId = "task_1" as TaskId;
const key = { taskId, epoch: 1 };
const bytes = randomBytes(3000);
const digest = createHash("sha256").update(bytes).digest("hex");

test("parts may come again, also after a restart, and end up once", async (t) => {
  const directory = temporaryDirectory(t);
  const first = createUploads(directory, () => true);
  await first.write(key, 0, bytes.subarray(0, 1000));
  await first.write(key, 1000, bytes.subarray(1000, 2000));
  const uploads = createUploads(directory, () => true);
  await uploads.write(key, 1000, bytes.subarray(1000, 2000)); // its answer was lost
  await uploads.write(key, 2000, bytes.subarray(2000));
  t.is(await uploads.finished(key), undefined);
  await uploads.finish(key, bytes.length, digest);
  await uploads.finish(key, bytes.length, digest);
  const found = await uploads.finished(key);
  t.is(found?.digest, digest);
  t.true(readFileSync(found?.path ?? "").equals(bytes));
});

test("a part whose beginning is not here, and an end with something missing, are refused", async (t) => {
  const uploads = createUploads(temporaryDirectory(t), () => true);
  await t.throwsAsync(uploads.write(key, 1, bytes), { instanceOf: ConflictError });
  await uploads.write(key, 0, bytes);
  await t.throwsAsync(uploads.finish(key, bytes.length + 1, digest), {
    instanceOf: ConflictError,
    message: "3000 octets are here, not 3001",
  });
  await t.throwsAsync(uploads.finish({ taskId, epoch: 2 }, 10, digest), { message: /^0 octets/ });
});

test("one that begins again begins from nothing; another attempt removes what the first one sent", async (t) => {
  const directory = temporaryDirectory(t);
  const uploads = createUploads(directory, () => true);
  await uploads.write(key, 0, bytes);
  await uploads.write(key, 0, bytes.subarray(0, 10));
  await t.throwsAsync(uploads.finish(key, bytes.length, digest), { message: /^10 octets/ });
  const other = { taskId: "task_2" as TaskId, epoch: 1 };
  await uploads.write(other, 0, bytes);
  await uploads.write({ taskId, epoch: 2 }, 0, bytes);
  t.deepEqual(readdirSync(directory).toSorted(), ["task_1.2.part", "task_2.1.part"]);
  await uploads.discard(taskId);
  t.deepEqual(readdirSync(directory), ["task_2.1.part"]);
});

test("what belongs to no task that runs is removed at the start", async (t) => {
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, `task_1.1.${digest}`), bytes);
  writeFileSync(join(directory, "task_2.1.part"), bytes);
  const uploads = createUploads(directory, (id) => id === taskId);
  t.deepEqual(readdirSync(directory), [`task_1.1.${digest}`]);
  t.is((await uploads.finished(key))?.digest, digest);
});
