/** A Raspberry Pi that tries a root slot: which boot finds what. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { instant, type JobId, parseImageDigest, type TaskId } from "#protocol/brand.ts";
import type { Job, Stage, Task } from "#protocol/job.ts";
import type { InstalledSlots } from "#protocol/node.ts";
import { createTrials, type TrialFile } from "../../server/boot/trials.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import type { Store } from "../../server/store/store.ts";
import { piBoot, run, serverOf } from "../sim/fake-network.ts";
import { openMortalStore } from "../support/mortal-store.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { client, laboratory, node, pi3, pi4, server } from "./setup.ts";

const digest = parseImageDigest("cd".repeat(32));
const slots: InstalledSlots = {
  ...{ active: "a", rootBytes: 1 << 30, data: "/srv", bootloader: "raspberry-pi" },
  roots: { a: "0a0b0c0d-02", b: "0a0b0c0d-03" },
};

/** A Pi 4 whose update has written slot b. */
function setUp(t: ExecutionContext, own: InstalledSlots = slots) {
  const made = laboratory(t);
  const { boot, nodes, tasks, jobs, directory } = made;
  boot.reply(client(pi4, { firmware: "raspberry-pi-4", serial: "9a4f01c2" }), server);
  const board = node(pi4, { state: "installed", installedDisk: { name: "mmcblk0", slots: own } });
  nodes.set(pi4, { ...board, firmware: "raspberry-pi-4" });
  const job: Job = {
    ...{ id: "job_1" as JobId, kind: "update", state: "running", selector: "n" },
    ...{ createdBy: "anna", createdAt: instant(0), parameters: { image: digest, keep: [] } },
  };
  jobs.set(job.id, job);
  const task = (stage: Stage, change: Partial<Task> = {}): void => {
    const made: Task = {
      ...{ id: "task_1" as TaskId, jobId: job.id, nodeId: board.id, kind: "update" },
      ...{ state: "running", epoch: 1, stage, percent: 0, stageSeconds: {} },
      ...{ createdAt: instant(0), ...change },
    };
    tasks.splice(0, tasks.length, made);
  };
  task("rebooting");
  const files = join(directory, "images", digest);
  mkdirSync(join(files, "overlays"), { recursive: true });
  for (const name of ["kernel8.img", "initrd.img", "bcm2711-rpi-4-b.dtb", "overlays/README"]) {
    writeFileSync(join(files, name), `${name} of the image`);
  }
  writeFileSync(
    join(files, "config.txt"),
    "kernel=kernel8.img\ninitramfs initrd.img followkernel\n",
  );
  const get = (name: string) => made.tftp(`9a4f01c2/${name}`, pi4);
  const found = (...names: readonly string[]) => names.filter((name) => get(name) !== undefined);
  return { ...made, task, get, found, files };
}

const beforeKernel = ["start4.elf", "config.txt", "fixup4.dat", "cmdline.txt"];
const fromKernel = ["bcm2711-rpi-4-b.dtb", "kernel8.img", "initrd.img", "overlays/README"];

test("a board that tries a slot gets that system's files, and nothing of netinst", (t) => {
  const { get, found } = setUp(t);
  t.is(get("config.txt"), "kernel=kernel8.img\ninitramfs initrd.img followkernel\n");
  t.is(
    get("cmdline.txt"),
    "console=serial0,115200 console=tty1 root=PARTUUID=0a0b0c0d-03 rootfstype=ext4 rootwait ro panic=30\n",
  );
  t.is(get("start4.elf"), "start4.elf");
  t.is(get("kernel8.img"), "kernel8.img of the image");
  t.is(get("initrd.img"), "initrd.img of the image");
  t.deepEqual(found("../config.txt", ".tree", "overlays/../config.txt", "bcm2710-rpi-3-b.dtb"), []);
});

test("in one boot files come as often as they are asked for; the next boot finds none", (t) => {
  const { found, tasks } = setUp(t);
  const once = [...beforeKernel, ...beforeKernel, ...fromKernel, "kernel8.img", "initrd.img"];
  t.deepEqual(found(...once), once);
  t.true(tasks[0]?.isTried);
  t.deepEqual(found("start4.elf", ...beforeKernel, ...fromKernel), []);
  t.deepEqual(found(...fromKernel), []);
});

for (const stage of ["bootcode.bin", "start.elf", "start4.elf"]) {
  test(`${stage} after the kernel is another boot`, (t) => {
    const { found } = setUp(t);
    found(...beforeKernel, ...fromKernel);
    t.deepEqual(found(stage, ...fromKernel), []);
  });
}

// raspberrypi/linux#7319: a Raspberry Pi 5 reads config.txt again for the device tree's parameters.
test("config.txt after a look at the kernel is the same boot; DHCP is another, also of a board without stages", (t) => {
  const { found, boot } = setUp(t);
  const rest = ["config.txt", "overlays/README", "cmdline.txt", "kernel8.img", "initrd.img"];
  t.deepEqual(found("config.txt", "kernel8.img", ...rest), ["config.txt", "kernel8.img", ...rest]);
  boot.reply(client(pi4, {}), server);
  t.deepEqual(found(...rest), rest, "of a system that runs");
  boot.reply(client(pi4, { firmware: "raspberry-pi-5", serial: "9a4f01c2" }), server);
  t.deepEqual(found(...rest), []);
});

test("a boot that broke off before its kernel may begin again", (t) => {
  const { found, tasks } = setUp(t);
  found(...beforeKernel, "bcm2711-rpi-4-b.dtb");
  t.is(tasks[0]?.isTried, undefined);
  t.deepEqual(found(...beforeKernel, ...fromKernel), [...beforeKernel, ...fromKernel]);
});

test("a server that was killed after it gave the kernel gives nothing more, before it all", (t) => {
  const { found, restart } = setUp(t);
  found(...beforeKernel);
  restart();
  t.deepEqual(found(...beforeKernel, "kernel8.img"), [...beforeKernel, "kernel8.img"]);
  restart();
  t.deepEqual(found(...beforeKernel, ...fromKernel), []);
});

for (const [when, found] of [
  ["before", "given once"],
  ["refused", "given once"],
  ["after", "never given"],
] as const) {
  test(`a server whose journal dies ${when} the note gives no kernel then; the next one: ${found}`, (t) => {
    const { tasks, jobs, nodes } = setUp(t);
    const [task, job, board] = [tasks[0], jobs.get("job_1" as JobId), nodes.get(pi4)];
    if (!task || !job || !board) return t.fail("a task, its job and its node");
    const path = join(temporaryDirectory(t), "journal");
    const written = openSqliteStore(path);
    written.nodes.put(board);
    written.jobs.put(job);
    written.tasks.put(task);
    written.close();
    const trialOn = (store: Store) => {
      const trials = createTrials({ store, bootFilesOf: () => "" });
      return (file: TrialFile) => {
        const [unfinished] = store.tasks.unfinishedOf(board.id);
        return unfinished && trials.of(board, unfinished)?.mayHave(file);
      };
    };
    const dying = openMortalStore(path, { at: 1, when, count: 0 });
    const ask = trialOn(dying);
    t.true(ask("other"));
    t.throws(() => ask("kernel"));
    dying.close();
    const next = openSqliteStore(path);
    t.teardown(() => next.close());
    const again = trialOn(next);
    t.is(again("kernel"), found === "given once");
    t.is(again("other"), found === "given once");
    t.false(trialOn(next)("kernel"));
  });
}

test("a kernel of another name counts too", (t) => {
  const { found, files, tasks } = setUp(t);
  writeFileSync(join(files, "vmlinuz"), "kernel");
  writeFileSync(join(files, "config.txt"), "kernel=vmlinuz\n");
  t.deepEqual(found("config.txt", "vmlinuz"), ["config.txt", "vmlinuz"]);
  t.true(tasks[0]?.isTried);
  t.deepEqual(found("start4.elf", "config.txt"), []);
});

const others: readonly (readonly [string, (made: ReturnType<typeof setUp>) => void])[] = [
  ["confirms", ({ task }) => task("confirming")],
  ["goes back", ({ task }) => task("falling-back", { epoch: 2 })],
  ["has another attempt that waits", ({ tasks }) => void tasks.splice(0)],
  ["has no job any more", ({ jobs }) => jobs.clear()],
];
for (const [title, change] of others) {
  test(`a board whose update ${title} finds nothing`, (t) => {
    const made = setUp(t);
    change(made);
    t.deepEqual(made.found(...beforeKernel, ...fromKernel), []);
  });
}

test("one that has not told its roots finds nothing; while its update is written it finds netinst", (t) => {
  const { roots: _, ...older } = slots;
  const { found, task, get } = setUp(t, older);
  t.deepEqual(found(...beforeKernel, ...fromKernel), []);
  task("writing");
  t.is(get("kernel8.img"), "kernel arm64");
});

const boards = [
  ["pi3", "raspberry-pi-3", "bcm2710-rpi-3-b.dtb", "start.elf"],
  ["pi4", "raspberry-pi-4", "bcm2711-rpi-4-b.dtb", "start4.elf"],
  ["pi5", "raspberry-pi-5", "bcm2712-rpi-5-b.dtb", undefined],
] as const;
for (const [model, firmware, deviceTree, stage] of boards) {
  test(`${model} in one boot gets the kernel it tries, in the next nothing`, async (t) => {
    const { boot, tftp, files, nodes } = setUp(t);
    const board = nodes.get(pi4);
    if (board) nodes.set(pi4, { ...board, firmware });
    writeFileSync(join(files, deviceTree), "device tree");
    const says = serverOf({ options: [piBoot] });
    const power = async () => {
      const given: string[] = [];
      const ran = await run(
        model,
        {
          dhcp(asked) {
            boot.reply(client(pi4, { firmware }), server);
            const answer = says(asked);
            return answer && { ...answer, address: "10.77.0.12" };
          },
          open(name) {
            const content = tftp(name, pi4);
            if (content !== undefined) given.push(name.slice(name.lastIndexOf("/") + 1));
            return content === undefined ? undefined : Buffer.from(content);
          },
        },
        { firstMac: pi4 },
      );
      return { ending: ran.result.boards[0]?.ending.outcome, given };
    };
    const first = await power();
    t.is(first.ending, "booted");
    for (const name of ["kernel8.img", "initrd.img", deviceTree, "cmdline.txt"]) {
      t.true(first.given.includes(name), name);
    }
    if (stage) t.true(first.given.includes(stage));
    t.deepEqual(await power(), { ending: "failed", given: [] });
  });
}

test("another board does not find it", (t) => {
  const { boot, tftp } = setUp(t);
  boot.reply(client(pi3, { firmware: "raspberry-pi-3" }), server);
  t.is(tftp("9a4f01c2/kernel8.img", pi3), undefined);
  t.is(tftp("kernel8.img", pi3), "kernel arm64");
});
