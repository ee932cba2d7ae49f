import test from "ava";
import { parseImageDigest, type TaskId } from "#protocol/brand.ts";
import type { Image } from "#protocol/image.ts";
import type { InstalledDisk } from "#protocol/node.ts";
import type { RootSlot } from "#protocol/root-slots.ts";
import { decideBootTarget } from "../../server/boot/target.ts";
import { settle } from "../support/manual-clock.ts";
import { address, createRig, digest, image, type Rig } from "./rig.ts";

const old = parseImageDigest("01".repeat(32));
const netinst = "netinst-1";
const mebibyte = 1 << 20;

const tree: Image = {
  ...image,
  format: "rootfs-tar",
  sizeBytes: 300 * mebibyte,
  keep: ["/etc/app"],
};
const disk: InstalledDisk = {
  name: "vda",
  contentsId: "gpt:1",
  slots: { active: "a", rootBytes: 640 * mebibyte, data: "/srv", bootloader: "grub" },
};
const piDisk: InstalledDisk = {
  ...{ name: "mmcblk0", contentsId: "mbr:0a0b0c0d" },
  slots: {
    ...{ active: "a", rootBytes: 640 * mebibyte, data: "/srv", bootloader: "raspberry-pi" },
    roots: { a: "0a0b0c0d-02", b: "0a0b0c0d-03" },
  },
};
const piTree: Image = {
  ...{ ...tree, bootloader: "raspberry-pi" },
  slots: { rootMiB: 640, data: "/srv" },
};
const request = { kind: "update", parameters: { image: digest, keep: ["/var/own"] } } as const;

/** A node that runs the system in slot a. */
async function createInstalled(outlet: "on" | "none" = "on"): Promise<Rig> {
  const rig = await createRig(outlet);
  rig.image = tree;
  rig.nodes.update(rig.node.id, { state: "installed", image: old, installedDisk: disk });
  await call(rig, "disk-0", "a");
  return rig;
}

/** The agent of an installed system calls. */
async function call(rig: Rig, bootId: string, slot: RootSlot, madeBy = "task_old"): Promise<void> {
  const system = { image: slot === "a" ? old : digest, madeBy: madeBy as TaskId, slot };
  const facts = { version: "0.1.0", uptimeSeconds: 1, usedMemoryMiB: 1, hostname: "lab-a-1" };
  rig.nodes.checkIn(rig.node.id, { ...facts, role: "resident", bootId, system }, address);
  await settle();
}

function target({ node, store }: Rig): string {
  return decideBootTarget(node, store.tasks.unfinishedOf(node.id));
}

/** Up to the moment when the agent in netinst has done its work. */
async function bringToReboot(rig: Rig): Promise<void> {
  await rig.create(request);
  await rig.checkIn("netinst", netinst);
  for (const stage of ["preparing", "writing", "verifying", "configuring", "committing"] as const) {
    await rig.report({ stage, percent: 50 });
  }
  await rig.report({ stage: "committing", percent: 100, status: "done" });
}

/** The boot room has given the kernel of the new system. */
function give(rig: Rig): void {
  rig.store.tasks.put({ ...rig.task(), isTried: true });
}

const wentBack = "the new system did not stay up: the node has gone back to the system it had";

test("an update is written in netinst, tried, confirmed by its own system, and then recorded", async (t) => {
  const rig = await createInstalled();
  await rig.create(request);
  t.like(rig.order(), { action: "reboot" });
  t.is(target(rig), "netinst");
  await rig.checkIn("netinst", netinst);
  t.like(rig.order(), {
    ...{ action: "update", hostname: "lab-a-1", disk: "vda", trialSeconds: 600, isLast: false },
    ...{ keep: ["/etc/app", "/var/own"], guard: { onlyOver: [] } },
    authorizedKeys: ["ssh-ed25519 AAAA server"],
  });
  await rig.report({ stage: "writing", percent: 10 });
  t.like(rig.node, { state: "installed", image: old }, "the running system is still its record");
  await rig.report({ stage: "committing", status: "done" });
  t.like(rig.task(), { stage: "rebooting" });
  t.like(rig.order(), { action: "reboot" });
  t.is(target(rig), "local-disk");

  const { id } = rig.task();
  await call(rig, "disk-1", "b", id);
  t.like(rig.task(), { state: "running", stage: "confirming" });
  t.like(rig.order(), { action: "confirm" });
  t.like(rig.node, { image: old });
  await rig.report({ bootId: "disk-1", stage: "confirming", status: "done" });
  t.like(rig.task(), { state: "done", epoch: 1 });
  t.like(rig.node, {
    state: "installed",
    image: digest,
    installedDisk: { slots: { active: "b" } },
  });
});

test("a Raspberry Pi tries its update from here until it has confirmed, and what follows boots its card", async (t) => {
  const rig = await createInstalled();
  rig.image = piTree;
  rig.nodes.update(rig.node.id, { installedDisk: piDisk });
  await bringToReboot(rig);
  t.is(target(rig), "trial");
  give(rig);
  const { id } = rig.task();
  await call(rig, "disk-1", "b", id);
  t.like(rig.task(), { stage: "confirming" });
  t.is(target(rig), "local-disk", "its next boot is the old system: it has not confirmed");
  await rig.report({ bootId: "disk-1", stage: "confirming", status: "done" });
  t.like(rig.task(), { state: "done" });
  t.like(rig.node, { image: digest, installedDisk: { slots: { ...piDisk.slots, active: "b" } } });
});

test("a Raspberry Pi whose new system is silent boots its card at the next attempt", async (t) => {
  const rig = await createInstalled();
  rig.image = piTree;
  rig.nodes.update(rig.node.id, { installedDisk: piDisk });
  await bringToReboot(rig);
  give(rig);
  await rig.silent(900 + 20);
  t.like(rig.task(), { state: "running", stage: "falling-back", epoch: 2 });
  t.is(target(rig), "local-disk");
  await call(rig, "disk-2", "a");
  t.like(rig.task(), { state: "failed", reason: wentBack });
  t.like(rig.node, { image: old, installedDisk: piDisk });
});

test("a Raspberry Pi that boots its card before it was given the new system writes it again", async (t) => {
  const rig = await createInstalled();
  rig.image = piTree;
  rig.nodes.update(rig.node.id, { installedDisk: piDisk });
  await bringToReboot(rig);
  await call(rig, "disk-1", "a");
  await rig.live(15, "resident", "disk-1");
  t.like(rig.task(), { state: "running", stage: "waiting-for-agent", epoch: 2 });
  t.is(target(rig), "netinst");
  await rig.checkIn("netinst", "netinst-2");
  t.like(rig.order(), { action: "update", epoch: 2 });
});

test("a node that goes back to the system it had keeps that as its record, and is not tried again", async (t) => {
  const rig = await createInstalled();
  await bringToReboot(rig);
  await call(rig, "disk-1", "a");
  t.like(rig.task(), { state: "failed", reason: wentBack, epoch: 1 });
  t.like(rig.node, { state: "installed", image: old, installedDisk: disk });
  t.is(target(rig), "local-disk");
});

test("a new system that is silent loses its power once, and the old one ends the task", async (t) => {
  const rig = await createInstalled();
  await bringToReboot(rig);
  await rig.silent(900 + 20);
  t.like(rig.task(), { state: "running", stage: "falling-back", epoch: 2 });
  t.is(target(rig), "local-disk");
  t.deepEqual(rig.verbs, ["window reboot", "cycle a1"]);
  const again = await rig.restart();
  again.image = tree;
  await again.silent(30);
  t.deepEqual(again.verbs, ["window reboot", "cycle a1"], "a killed server switches nothing twice");
  await call(again, "disk-2", "a");
  t.like(again.task(), { state: "failed", reason: wentBack });
  t.like(again.node, { state: "installed", image: old });
});

test("a node that never leaves netinst loses its power once too, and one in another netinst is restarted", async (t) => {
  const rig = await createInstalled();
  await bringToReboot(rig);
  await rig.live(900 + 30, "netinst", netinst);
  t.like(rig.task(), { stage: "falling-back", epoch: 2 });
  t.deepEqual(rig.verbs, ["window reboot", "cycle a1"]);

  const other = await createInstalled();
  await bringToReboot(other);
  await other.checkIn("netinst", "netinst-2");
  await other.live(15, "netinst", "netinst-2");
  t.like(other.task(), { stage: "falling-back", epoch: 2 });
  t.like(other.order(), { action: "reboot" });
  t.deepEqual(other.verbs, ["window reboot"]);
});

test("a new system that calls late, after its power was switched, is confirmed all the same", async (t) => {
  const rig = await createInstalled();
  await bringToReboot(rig);
  await rig.silent(900 + 20);
  await call(rig, "disk-2", "b", rig.task().id);
  t.like(rig.order(), { action: "confirm", epoch: 2 });
  await rig.report({ bootId: "disk-2", stage: "confirming", status: "done" });
  t.like(rig.task(), { state: "done" });
  t.like(rig.node, { image: digest });
});

test("neither system calls, and there is no outlet: the reason says what to do", async (t) => {
  const rig = await createInstalled("none");
  await bringToReboot(rig);
  await rig.silent(900 + 20 + 3600);
  t.is(rig.task().state, "failed");
  t.regex(
    rig.task().reason ?? "",
    /neither the new system nor the one before called.*its next boot/,
  );
  t.like(rig.node, { state: "installed", image: old });
});

test("a system that restarts before it has confirmed is asked again; one that is the old one by then ends it", async (t) => {
  const rig = await createInstalled();
  await bringToReboot(rig);
  const { id } = rig.task();
  await call(rig, "disk-1", "b", id);
  await call(rig, "disk-2", "b", id);
  t.like(rig.order(), { action: "confirm" });
  await call(rig, "disk-3", "a");
  t.like(rig.task(), { state: "failed", reason: wentBack });
});

test("an attempt that broke off while it wrote is followed by one that writes again", async (t) => {
  const rig = await createInstalled();
  await rig.create(request);
  await rig.checkIn("netinst", netinst);
  await rig.report({ stage: "writing", percent: 10 });
  await rig.report({ stage: "writing", status: "failed", reason: "no network", retryable: true });
  await rig.live(15, "netinst", netinst);
  t.like(rig.order(), { action: "update", epoch: 2 });
  t.like(rig.node, { state: "installed", image: old });
});

const reached = [
  "waiting-for-agent",
  "preparing",
  "writing",
  "committing",
  "rebooting",
  "confirming",
] as const;
for (const stage of reached) {
  test(`a server killed while ${stage} goes on with the same epoch and ends the same`, async (t) => {
    const before = await createInstalled();
    await before.create(request);
    if (stage !== "waiting-for-agent") {
      await before.checkIn("netinst", netinst);
      if (stage === "rebooting" || stage === "confirming") {
        await before.report({ stage: "committing", status: "done" });
      } else await before.report({ stage });
    }
    if (stage === "confirming") await call(before, "disk-1", "b", before.task().id);
    t.is(before.task().stage, stage);
    const rig = await before.restart();
    rig.image = tree;
    if (stage === "waiting-for-agent") await rig.checkIn("netinst", netinst);
    if (stage !== "rebooting" && stage !== "confirming") {
      await rig.report({ stage: "committing", status: "done" });
    }
    await call(rig, "disk-1", "b", rig.task().id);
    t.like(rig.order(), { action: "confirm", epoch: 1 });
    await rig.report({ bootId: "disk-1", stage: "confirming", status: "done" });
    t.like(rig.task(), { state: "done", epoch: 1 });
    t.like(rig.node, { image: digest });
  });
}

test("cancelled while the new system is on trial: it is not confirmed, and goes back by itself", async (t) => {
  const rig = await createInstalled();
  await bringToReboot(rig);
  rig.jobs.cancel(rig.task().jobId, "ada");
  await call(rig, "disk-1", "b", rig.task().id);
  t.is(rig.order(), undefined);
  t.like(rig.node, { state: "installed", image: old, installedDisk: disk });
});

const refusals = [
  [
    "a disk image",
    { image: { ...tree, format: "raw" } },
    /is a whole disk.*push a root file system/,
  ],
  ["a node with one root", { disk: { name: "vda" } }, /one root file system.*--root-size/],
  [
    "an image that is too large",
    { image: { ...tree, sizeBytes: 1 << 30 } },
    /a root slot of lab-a-1 has/,
  ],
  ["another boot loader", { image: { ...tree, bootloader: "raspberry-pi" } }, /boots by grub/],
  [
    "a Raspberry Pi's image without slots",
    { image: { ...piTree, slots: undefined } as never, disk: piDisk },
    /pushed without root slots.*--root-size/,
  ],
  [
    "a Raspberry Pi whose roots nobody told",
    { image: piTree, disk: { ...piDisk, slots: { ...piDisk.slots, roots: undefined } } as never },
    /has not told where its root slots are: install it/,
  ],
  [
    "boot files that a Raspberry Pi would keep",
    { image: { ...piTree, keep: ["/etc/app", "/boot/overlays"] }, disk: piDisk },
    /\/boot\/overlays cannot be kept on a Raspberry Pi/,
  ],
  ["a node without a system", { state: "ready" }, /no installed system.*install it/],
] as const satisfies readonly (readonly [
  string,
  { image?: Image; disk?: InstalledDisk; state?: "ready" },
  RegExp,
])[];
for (const [title, wrong, reason] of refusals) {
  test(`refused with the remedy: ${title}`, async (t) => {
    const rig = await createInstalled();
    if ("image" in wrong) rig.image = wrong.image;
    if ("disk" in wrong) rig.nodes.update(rig.node.id, { installedDisk: wrong.disk });
    if ("state" in wrong) rig.nodes.update(rig.node.id, { state: wrong.state });
    await rig.create(request);
    t.is(rig.task().state, "failed");
    t.regex(rig.task().reason ?? "", reason);
    t.is(rig.order(), undefined);
  });
}

const hardware = { model: "virtual", cpus: 1, memoryMiB: 1024, disks: [], interfaces: [] };
const enrol = (rig: Rig, certificate: string, byToken = true) =>
  rig.nodes.enrolled(rig.node.id, {
    ...{ certificate, certificateUntil: rig.clock.now(), hardware, byToken },
    architecture: "amd64",
  });

test("netinst enrols during an update, again after a power cut, and the old system is still itself when it comes back", async (t) => {
  const rig = await createInstalled();
  rig.nodes.update(rig.node.id, { certificate: "of-the-disk", certificateUntil: rig.clock.now() });
  await rig.create(request);
  for (const certificate of ["of-netinst", "of-the-next-netinst"]) {
    enrol(rig, certificate);
    t.like(rig.node, { certificate, nextCertificate: { fingerprint: "of-the-disk" } });
    await rig.checkIn("netinst", certificate);
  }
});

test("netinst enrols after its update was cancelled: the old system is still itself; without a token it would not be", async (t) => {
  for (const byToken of [true, false]) {
    const rig = await createInstalled();
    const { id } = rig.node;
    rig.nodes.update(id, { certificate: "of-the-disk", certificateUntil: rig.clock.now() });
    const job = await rig.create(request);
    rig.jobs.cancel(job.id, "ada");
    enrol(rig, "of-netinst", byToken);
    t.is(rig.node.nextCertificate?.fingerprint, byToken ? "of-the-disk" : undefined);
  }
});

for (const path of ["relative", "/", "/a/../b", "/a/", ""]) {
  test(`${JSON.stringify(path)} cannot be kept`, async (t) => {
    const rig = await createInstalled();
    await t.throwsAsync(rig.create({ ...request, parameters: { image: digest, keep: [path] } }));
  });
}
