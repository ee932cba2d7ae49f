/** `job create capture` on the command line, as README has it, and where images say they come from. */

import test from "ava";
import type { JobId } from "#protocol/brand.ts";
import { image, startTestServer, tokens } from "../http/support.ts";
import { run } from "./support.ts";

const words = ["job", "create", "capture", "--select", "lab-a-1", "--name", "golden"];

test("a capture is planned, and asked for by an admin only", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const admin = { token: tokens.admin };
  const plan = await run([...words, "--kind", "raw", "--dry-run"], server, admin);
  t.is(plan.code, 0, plan.err);
  t.regex(
    plan.out,
    /lab-a-1\tstop it, read its disk and make image golden of that, start it again/,
  );
  const more = ["--leave-out", "/srv/cache, /home/*/.ssh", "--yes"];
  const refused = await run([...words, ...more], server, { token: tokens.operator });
  t.is(refused.code, 1, refused.err);
  t.regex(refused.err, /capture is for admins/);
  const made = await run([...words, ...more], server, admin);
  t.is(made.code, 0, made.err);
  const [job] = server.store.jobs.list({ limit: 1 });
  t.like(job, {
    kind: "capture",
    parameters: { name: "golden", format: "rootfs-tar", leaveOut: ["/srv/cache", "/home/*/.ssh"] },
  });
  const wrong = await run([...words, "--kind", "qcow", "--yes"], server, admin);
  t.not(wrong.code, 0);
  t.regex(wrong.err, /parameters\/format/);
  const nameless = await run(words.slice(0, -2), server, admin);
  t.is(nameless.code, 2);
  t.regex(nameless.err, /--name/);
});

test("an image that was captured names its node", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const node = server.store.nodes.list()[0];
  if (!node) return t.fail("no node");
  const origin = { nodeId: node.id, name: node.name, jobId: "job_1" as JobId };
  server.store.images.put({ ...image, name: "golden", origin });
  const { out } = await run(["image", "list"], server, { token: tokens.viewer });
  t.regex(out, new RegExp(`^golden\\t.*\\t${node.name}$`, "m"));
});
