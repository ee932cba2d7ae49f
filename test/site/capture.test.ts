/**
 * A simulated board's system becomes an image, over a killed server, and is installed on another
 * board: real server, real agents, directories as file systems.
 */

import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import test from "ava";
import type { Image } from "#protocol/image.ts";
import type { Job, Stage, Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { createCleanup } from "../../scripts/lab/cleanup.ts";
import { learn, startSite } from "../../scripts/lab/learn.ts";
import { makeSmallTree } from "../../scripts/lab/small-image.ts";
import { watchWorld } from "../../scripts/lab/world.ts";

const minute = 60_000;
const slotTimeoutSeconds = 60;
/** Enough for the server to be killed in the middle of it. */
const content = randomBytes(48 << 20);

test("a captured system is installed elsewhere: what was changed is there, who it was is not", async (t) => {
  t.timeout(10 * minute);
  const cleanup = createCleanup((line) => t.log(line));
  t.teardown(() => cleanup.run());
  const say = (line: string) => t.log(line);
  const site = await startSite(
    {
      ...{ stacks: 1, perStack: 2, perSlotOutlets: true, senses: true, seed: 1 },
      ...{ models: ["pi4"], faults: {}, slotTimeoutSeconds, diskOctets: 1024 ** 3 },
    },
    cleanup,
    say,
  );
  const { api } = site.server;
  const query = new URLSearchParams({
    ...{ name: "one", architecture: "arm64", format: "rootfs-tar", bootloader: "grub" },
    ...{ rootMiB: "160", data: "/srv", keep: "/etc/app" },
  });
  await api.upload<Image>(`/api/v1/images?${query}`, makeSmallTree(site.directory, "one"));
  await learn(site, { slotTimeoutSeconds, quietSeconds: 3, kills: 0 }, say);
  const world = watchWorld(api);
  cleanup.add("event stream", () => world.close());
  const [first, second] = site.rack.boards.map(({ board }) => board);
  if (!first || !second) return t.fail("a rack without boards");
  const nodeOf = ({ mac }: { readonly mac: string }): Node | undefined => world.nodes.get(mac);
  const create = (kind: string, board: typeof first, parameters: object) =>
    api.send<Job>("POST", "/api/v1/jobs", { kind, selector: nodeOf(board)?.id, parameters });
  const taskOf = (job: Job): Task | undefined =>
    [...world.tasks.values()].find(({ jobId }) => jobId === job.id);
  const ended = (job: Job) =>
    world.until(`job ${job.id}`, 5 * minute, () => {
      const state = world.jobs.get(job.id)?.state;
      return state === "queued" || state === "running" ? undefined : taskOf(job);
    });
  const atStage = (job: Job, ...stages: readonly Stage[]) =>
    world.until(stages.join(" or "), 3 * minute, () => {
      const { stage } = taskOf(job) ?? {};
      return stage !== undefined && stages.includes(stage) ? true : undefined;
    });
  const isBack = () => {
    const { connection, agent, state } = nodeOf(first) ?? {};
    const isUp = connection === "online" && agent?.role === "resident";
    return isUp && state === "installed" ? agent.bootId : undefined;
  };
  const images = async () => (await api.get<{ items: readonly Image[] }>("/api/v1/images")).items;

  await world.until("both are known", minute, () =>
    [first, second].every((board) => nodeOf(board)?.state === "ready") ? true : undefined,
  );
  t.is((await ended(await create("install", first, { image: "one" }))).state, "done");
  const root = `${first.disk}.root-a`;
  for (const [path, text] of [
    ["opt/changed", content],
    ["opt/private/x", "nobody's\n"],
    ["etc/machine-id", "0123456789abcdef\n"],
  ] as const) {
    mkdirSync(dirname(`${root}/${path}`), { recursive: true });
    writeFileSync(`${root}/${path}`, text);
  }

  const capture = await create("capture", first, { name: "golden", leaveOut: ["/opt/private"] });
  await atStage(capture, "sending");
  await site.server.killAndRestart();
  const done = await ended(capture);
  t.like(done, { state: "done", epoch: 1 }, done.reason);
  await world.until("its system runs again", 2 * minute, isBack);
  const library = await images();
  t.deepEqual(library.map(({ name }) => name).toSorted(), ["golden", "one"]);
  const golden = library.find(({ name }) => name === "golden");
  t.like(golden, {
    ...{ format: "rootfs-tar", compression: "zstd", architecture: "arm64", bootloader: "grub" },
    origin: { nodeId: nodeOf(first)?.id, name: nodeOf(first)?.name, jobId: capture.id },
    keep: ["/etc/app"],
  });
  t.true((golden?.slots?.rootMiB ?? 0) > 160, "its slots have grown with it");

  t.is((await ended(await create("install", second, { image: "golden" }))).state, "done");
  const other = `${second.disk}.root-a`;
  const read = (directory: string, path: string) => readFileSync(`${directory}/${path}`);
  t.true(read(other, "opt/changed").equals(content));
  t.false(existsSync(`${other}/opt/private`));
  t.is(read(other, "etc/hostname").toString(), `${nodeOf(second)?.name}\n`);
  t.is(read(other, "etc/machine-id").toString(), "");
  for (const path of ["etc/ssh/ssh_host_ed25519_key", "var/lib/marcoboot/identity/node.pem"]) {
    t.false(read(other, path).equals(read(root, path)), path);
  }
  t.like(nodeOf(second), { state: "installed", image: golden?.digest, quarantined: false });
  await site.close();
});
