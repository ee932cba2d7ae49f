/** The kind `copy`: a file of the library to a path, again and again until it is there. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import test from "ava";
import { settle } from "../support/manual-clock.ts";
import { createRig, digest } from "./rig.ts";

const request = { kind: "copy", parameters: { image: digest, path: "/etc/motd" } } as const;

async function rigWithFile() {
  const rig = await createRig();
  rig.image = { ...rig.image, name: "motd", format: "file", bootloader: "none" };
  return rig;
}

test("the agent fetches the file with a ticket of this attempt, and it is tried again", async (t) => {
  const rig = await rigWithFile();
  await rig.checkIn("resident", "disk-1");
  await rig.create(request as never);
  const order = rig.order();
  t.like(order, { action: "copy", path: "/etc/motd", mode: 0o644, epoch: 1 });
  if (order?.action !== "copy") return t.fail();
  t.true(rig.jobs.imageAllowed(order.ticket, digest));
  await rig.report({ status: "running", stage: "copying", percent: 40, bootId: "disk-1" });
  await rig.checkIn("resident", "disk-2");
  t.like(rig.task(), { state: "running", epoch: 1 });
  await rig.live(15, "resident", "disk-2");
  t.is(rig.task().epoch, 2);
  t.false(rig.jobs.imageAllowed(order.ticket, digest), "the first attempt's ticket");
  await rig.report({ status: "done", stage: "copying", percent: 100, bootId: "disk-2" });
  t.is(rig.task().state, "done");
});

test("an OS image is not copied, a file is not installed, and only absolute paths are taken", async (t) => {
  const rig = await createRig();
  await rig.checkIn("resident", "disk-1");
  await rig.create(request as never);
  t.regex(rig.task().reason ?? "", /debian is an OS image: push what is copied with --format file/);
  const other = await rigWithFile();
  await other.checkIn("resident", "disk-1");
  await other.create();
  t.regex(other.task().reason ?? "", /motd is a file to copy, not an OS image/);
  for (const path of ["etc/motd", "/etc/../motd", "/etc/", "/", "/a\nb", "/etc/./motd", ""]) {
    await t.throwsAsync(
      other.create({ kind: "copy", parameters: { image: digest, path } } as never),
      { message: /parameters\/path/ },
      path,
    );
  }
  t.notThrows(() => other.jobs);
});

test("without an agent the file goes by SSH", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "marcoboot-test-"));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const stored = join(directory, "stored");
  writeFileSync(stored, "welcome\n");
  const written: unknown[] = [];
  const rig = await rigWithFile();
  rig.imagePath = stored;
  rig.shell = {
    run: async () => ({ code: 0 }),
    write: async (path, content, mode) => {
      written.push([path, await text(content), mode]);
    },
    close: () => undefined,
  };
  rig.nodes.update(rig.node.id, { sshHostKeys: ["SHA256:abc"] });
  await rig.create(request as never);
  while (rig.task().state === "running") {
    await new Promise((resolve) => setImmediate(resolve)); // the file is read by the real system
    await settle();
  }
  t.deepEqual(written, [["/etc/motd", readFileSync(stored, "utf8"), 0o644]]);
  t.is(rig.task().state, "done");
});
