/**
 * Simulated boards with two root slots are updated by the real server and the real agent: the disks
 * are files, directories play their file systems. Three boot by GRUB, which tries a slot by itself; to
 * the fourth, a Raspberry Pi with its own boot partition, the server gives the new system for one boot.
 */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import test, { type ExecutionContext } from "ava";
import type { Image } from "#protocol/image.ts";
import type { Job, Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { createCleanup } from "../../scripts/lab/cleanup.ts";
import { learn, startSite } from "../../scripts/lab/learn.ts";
import type { BoardMoment } from "../../scripts/lab/simulated-board.ts";
import { makeSmallTree } from "../../scripts/lab/small-image.ts";
import { watchWorld } from "../../scripts/lab/world.ts";

const minute = 60_000;
const slotTimeoutSeconds = 60;
const slots = { rootMiB: 160, data: "/srv" };

async function startRack(t: ExecutionContext) {
  t.timeout(10 * minute);
  const cleanup = createCleanup((line) => t.log(line));
  t.teardown(() => cleanup.run());
  const say = (line: string) => t.log(line);
  const moments: BoardMoment[] = [];
  const site = await startSite(
    {
      ...{ stacks: 1, perStack: 4, perSlotOutlets: true, senses: true, seed: 1 },
      ...{ models: ["pi4"], faults: {}, slotTimeoutSeconds, diskOctets: 700 * 1024 ** 2 },
    },
    cleanup,
    say,
    (moment) => void moments.push(moment),
    { settings: { firstBootSeconds: 60 } },
  );
  const { api } = site.server;
  const push = async (
    name: string,
    more: Readonly<Record<string, string>>,
    bootloader = "grub",
  ) => {
    const query = new URLSearchParams({
      ...{ name, architecture: "arm64", format: "rootfs-tar", bootloader },
      ...{ rootMiB: String(slots.rootMiB), data: slots.data, keep: "/etc/app" },
    });
    const path = makeSmallTree(site.directory, name, more);
    return await api.upload<Image>(`/api/v1/images?${query}`, path);
  };
  await learn(site, { slotTimeoutSeconds, quietSeconds: 3, kills: 0 }, say);
  const world = watchWorld(api);
  cleanup.add("event stream", () => world.close());
  const board = (slot: string) => {
    const found = site.rack.boards.find(({ place }) => place?.slot === slot)?.board;
    if (!found) throw new Error(`there is no board in ${slot}`);
    const at = (path: string) => join(`${found.disk}.${path}`);
    return {
      node: (): Node | undefined => world.nodes.get(found.mac),
      read: (path: string) => readFileSync(at(path), "utf8"),
      write(path: string, text: string) {
        mkdirSync(dirname(at(path)), { recursive: true });
        writeFileSync(at(path), text);
      },
      did: (since: number) =>
        moments.filter((one) => one.board === found && one.at >= since).map(({ what }) => what),
    };
  };
  const create = (kind: string, selector: string, parameters: object) =>
    api.send<Job>("POST", "/api/v1/jobs", { kind, selector, parameters });
  const taskOf = (job: Job): Task | undefined =>
    [...world.tasks.values()].find(({ jobId }) => jobId === job.id);
  const ended = (job: Job) =>
    world.until(`job ${job.id}`, 5 * minute, () => {
      const state = world.jobs.get(job.id)?.state;
      return state === "done" || state === "failed" ? taskOf(job) : undefined;
    });
  return { site, api, world, push, board, create, taskOf, ended };
}

/** Beside the kernel that each small tree has. */
const piFiles = {
  "boot/initrd.img-1": "initrd",
  "usr/lib/linux-image-1/broadcom/bcm2711-rpi-4-b.dtb": "device tree",
};
const systemsOf = (
  { did }: { readonly did: (since: number) => readonly BoardMoment["what"][] },
  since: number,
) => did(since).filter((what) => what === "installed-system").length;

test("boards are updated beside their running system; one that does not call goes back by itself, one that hangs by its outlet", async (t) => {
  const { site, api, world, push, board, create, taskOf, ended } = await startRack(t);
  const first = await push("one", { "etc/app/settings": "of the image\n" });
  const second = await push("two", { "etc/app/settings": "of the image\n", "etc/app/new": "" });
  const dark = await push("dark", { "etc/has-no-agent": "" });
  const hung = await push("hung", { "etc/hangs": "" });
  await push("pi-one", piFiles, "raspberry-pi");
  const piSecond = await push("pi-two", { ...piFiles, "etc/second": "" }, "raspberry-pi");
  await push("pi-dark", { ...piFiles, "etc/has-no-agent": "" }, "raspberry-pi");
  const boards = ["1", "2", "3"].map(board);
  const pi = board("4");
  const idOf = (one: typeof pi) => one.node()?.id ?? "";
  const installs = await Promise.all([
    create("install", boards.map(idOf).join(","), { image: "one" }),
    create("install", idOf(pi), { image: "pi-one" }),
  ]);
  for (const job of installs) t.is((await ended(job)).state, "done");
  for (const one of [...boards, pi]) {
    t.like(one.node()?.installedDisk, { slots: { active: "a", data: "/srv" } });
    one.write("root-a/etc/app/settings", "of this node\n");
    one.write("root-a/etc/machine-id", "0123456789abcdef\n");
    one.write("data/table", "rows\n");
    one.write("root-a/opt/scratch", "nobody's\n");
  }
  const [updated, goesBack, hangs] = boards;
  if (!updated || !goesBack || !hangs) return t.fail("three boards");
  const key = updated.read("root-a/etc/ssh/ssh_host_ed25519_key");
  const begun = Date.now();

  const jobs = await Promise.all(
    [
      [updated, "two"],
      [goesBack, "dark"],
      [hangs, "hung"],
      [pi, "pi-two"],
    ].map(([one, image]) =>
      create("update", idOf(one as typeof updated), { image, keep: ["/var/own"] }),
    ),
  );
  const [good, back, stuck, tried] = jobs;
  if (!good || !back || !stuck || !tried) return t.fail("four jobs");
  await world.until("an update is under way", minute, () =>
    taskOf(good)?.stageSeconds["waiting-for-agent"] === undefined ? undefined : true,
  );
  await site.server.killAndRestart();
  t.like(await ended(good), { state: "done", epoch: 1 });
  t.like(updated.node(), {
    ...{ state: "installed", image: second.digest },
    installedDisk: { slots: { active: "b" } },
    agent: { role: "resident", system: { slot: "b", image: second.digest } },
  });
  t.is(updated.read("root-b/etc/app/settings"), "of this node\n");
  t.is(updated.read("root-b/etc/machine-id"), "0123456789abcdef\n");
  t.is(updated.read("root-b/etc/ssh/ssh_host_ed25519_key"), key);
  t.is(updated.read("data/table"), "rows\n");
  t.throws(() => updated.read("root-b/opt/scratch"));
  t.throws(() => updated.read("root-b/etc/app/new"), undefined, "a kept path is all of the old");
  t.throws(() => updated.read("root-b/var/lib/marcoboot/trial"));
  t.is(updated.read("root-a/opt/scratch"), "nobody's\n");

  t.like(await ended(tried), { state: "done", epoch: 1, isTried: true });
  t.like(pi.node(), {
    ...{ image: piSecond.digest, installedDisk: { slots: { active: "b" } } },
    agent: { role: "resident", system: { slot: "b", image: piSecond.digest } },
  });
  t.is(pi.read("root-b/etc/app/settings"), "of this node\n");
  t.is(pi.read("boot/b/kernel8.img"), "kernel of pi-two\n");
  t.is(pi.read("boot/config.txt"), pi.read("boot/b/config.txt"));
  t.is(systemsOf(pi, begun), 1);
  const beforeDark = Date.now();
  const piDark = await create("update", idOf(pi), { image: "pi-dark" });

  const reason = /the new system did not stay up: the node has gone back to the system it had/;
  for (const [job, one, image] of [
    [back, goesBack, dark],
    [stuck, hangs, hung],
  ] as const) {
    const task = await ended(job);
    t.is(task.state, "failed");
    t.regex(task.reason ?? "", reason, image.name);
    t.like(one.node(), {
      ...{ state: "installed", image: first.digest, connection: "online" },
      agent: { role: "resident", system: { slot: "a", image: first.digest } },
    });
    t.is(one.read("root-a/etc/app/settings"), "of this node\n");
  }
  t.false(goesBack.did(begun).includes("power-off"));
  t.is(hangs.did(begun).filter((what) => what === "power-off").length, 1);

  const again = await create("update", idOf(updated), { image: "one" });
  t.is((await ended(again)).state, "done");
  t.like(updated.node()?.installedDisk, { slots: { active: "a" } });
  t.is(updated.read("root-a/etc/app/settings"), "of this node\n");
  t.throws(() => updated.read("root-a/opt/scratch"));
  const piTask = await ended(piDark);
  t.is(piTask.state, "failed");
  t.regex(piTask.reason ?? "", reason);
  t.like(pi.node(), { image: piSecond.digest, connection: "online" });
  t.is(pi.read("boot/config.txt"), pi.read("boot/b/config.txt"));
  t.is(systemsOf(pi, beforeDark), 2, "the new system once, by network; then the card's");
  t.false(pi.did(beforeDark).includes("power-off"));

  const plan = await api.send<{ nodes: { does: string; loses: string }[] }>(
    "POST",
    "/api/v1/jobs",
    {
      ...{ kind: "update", selector: updated.node()?.id, dryRun: true },
      parameters: { image: "two" },
    },
  );
  t.is(
    plan.nodes[0]?.does,
    "write two into root slot b, keep /etc/app, /srv, what makes it this node, try it once, go back if it does not call",
  );
  await site.close();
});
