/** A file that the agent fetches. */

import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import type { CopyAssignment } from "#protocol/agent.ts";
import { copyFile } from "../../netinst/steps/copy.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { describeImage, serveImage } from "./support.ts";

const content = Buffer.alloc(3_000_000, "a line of a file\n");
const quiet = { info: () => undefined, warn: () => undefined, take: () => [] };
const never = new AbortController().signal;

async function order(t: ExecutionContext, path: string, change = {}, cutAfter?: number) {
  const server = await serveImage(content, cutAfter);
  t.teardown(() => server.close());
  const image = { ...describeImage(content, content, "none"), format: "file", ...change };
  return {
    ...{ action: "copy", nodeId: "node_1", taskId: "task_1", epoch: 1, path, mode: 0o640 },
    image: { ...image, signature: "checked before", url: server.url },
    ticket: "good-ticket",
  } as unknown as CopyAssignment;
}

const copied = (assignment: CopyAssignment) =>
  copyFile(
    {
      assignment,
      reporter: { progress: () => undefined },
      console: quiet,
      bootUrl: "http://127.0.0.1",
    },
    never,
  );

test("the file is whole, with its mode, though the connection broke", async (t) => {
  const path = join(temporaryDirectory(t), "file");
  await copied(await order(t, path, {}, 1_000_000));
  t.true(readFileSync(path).equals(content));
  t.is(statSync(path).mode & 0o777, 0o640);
});

test("a file whose digest is another leaves the old one, and nothing beside it", async (t) => {
  const directory = temporaryDirectory(t);
  const path = join(directory, "file");
  writeFileSync(path, "old");
  await t.throwsAsync(copied(await order(t, path, { digest: "0".repeat(64) })), {
    message: /instead of 0{64}/,
  });
  t.is(readFileSync(path, "utf8"), "old");
  t.deepEqual(readdirSync(directory), ["file"]);
});

test("a path that cannot be written is told", async (t) => {
  await t.throwsAsync(copied(await order(t, "/nowhere/file")), {
    message: /^\/nowhere\/file could not be written: /,
  });
});
