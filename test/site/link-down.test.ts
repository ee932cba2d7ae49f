/**
 * E52: the server's own link goes down in the middle of a write, for longer than a node may be silent. The
 * same attempt goes on where it was. Root is needed; `MARCOBOOT_LINK_DOWN_SECONDS=600` is the whole of it.
 */

import { setTimeout as sleep } from "node:timers/promises";
import test from "ava";
import type { Image } from "#protocol/image.ts";
import type { Job, Task } from "#protocol/job.ts";
import { createCleanup } from "../../scripts/lab/cleanup.ts";
import { inNamespace, run } from "../../scripts/lab/command.ts";
import { learn, startSite } from "../../scripts/lab/learn.ts";
import type { BoardMoment } from "../../scripts/lab/simulated-board.ts";
import { holdsImage, makeSmallImage } from "../../scripts/lab/small-image.ts";
import { watchWorld } from "../../scripts/lab/world.ts";

const minute = 60_000;
const mebibyte = 1 << 20;
const slotTimeoutSeconds = 60;
const downSeconds = Number(process.env["MARCOBOOT_LINK_DOWN_SECONDS"] ?? 17);
/** A run looks at the latest 5 s after it is over. */
const silenceSeconds = downSeconds < 200 ? 10 : 180;

test(`E52: the server's link is down for ${downSeconds} s while a board writes: the same attempt ends, and nothing is fetched twice`, async (t) => {
  t.timeout(30 * minute);
  const cleanup = createCleanup((line) => t.log(line));
  t.teardown(() => cleanup.run());
  const say = (line: string) => t.log(line);
  const moments: BoardMoment["what"][] = [];
  const site = await startSite(
    {
      ...{ stacks: 1, perStack: 1, perSlotOutlets: true, senses: true, seed: 1 },
      ...{ models: ["pi4"], faults: {}, slotTimeoutSeconds },
    },
    cleanup,
    say,
    ({ what }) => void moments.push(what),
    { settings: { silenceSeconds } },
  );
  t.teardown(() => site.close());
  await learn(site, { slotTimeoutSeconds, quietSeconds: 1, kills: 0 }, say);
  const alarms: string[] = [];
  const { api } = site.server;
  const world = watchWorld(api, (event) => {
    if (event.topic === "alarm") alarms.push(event.text);
  });
  cleanup.add("event stream", () => world.close());
  const board = site.rack.boards[0]?.board;
  if (!board) throw new Error("one board");
  await world.until("the board's netinst", minute, () =>
    world.nodes.get(board.mac)?.state === "ready" ? true : undefined,
  );

  const image = makeSmallImage(site.directory, "image");
  const query = new URLSearchParams({
    ...{ name: image.name, architecture: "arm64", bootloader: "none", format: "raw" },
  });
  const { storedBytes } = await api.upload<Image>(`/api/v1/images?${query}`, image.path);
  const inServer = (...words: string[]) =>
    run(...inNamespace(`${site.namespaces}-srv`, words[0] ?? "", words.slice(1)));
  const sent = () => Number(inServer("cat", "/sys/class/net/eth0/statistics/tx_bytes"));
  inServer("tc", ..."qdisc add dev eth0 root tbf rate 8mbit burst 64kb latency 400ms".split(" "));
  const before = sent();
  moments.length = 0;
  const job = await api.send<Job>("POST", "/api/v1/jobs", {
    ...{ kind: "install", selector: "all", parameters: { image: image.name, authorizedKeys: [] } },
  });
  const task = (fits: (task: Task) => boolean) =>
    [...world.tasks.values()].find((one) => one.jobId === job.id && fits(one));
  await world.until("a tenth of it", 2 * minute, () =>
    task(({ stage, percent }) => stage === "writing" && percent >= 10),
  );
  inServer("ip", "link", "set", "eth0", "down");
  await sleep(1000 * downSeconds);
  t.like(
    task(() => true),
    { state: "running", stage: "writing", epoch: 1 },
  );
  inServer("ip", "link", "set", "eth0", "up");
  inServer("tc", "qdisc", "delete", "dev", "eth0", "root");

  const done = await world.until("the end of the job", 5 * minute, () =>
    task(({ state }) => state === "done" || state === "failed"),
  );
  t.like(done, { state: "done", epoch: 1 }, done.reason);
  t.true(holdsImage(board.disk, image));
  const octets = sent() - before;
  t.log(`${octets} octets left the server for an image of ${storedBytes}`);
  t.true(octets >= storedBytes && octets < storedBytes + 2 * mebibyte, `${octets}`);
  t.deepEqual(
    moments.filter((what) => what === "power-off" || what === "netinst"),
    [],
  );
  t.is(alarms.length, 2, alarms.join("\n"));
  t.regex(
    alarms[0] ?? "",
    /^the server's interface eth0 has no link since [-0-9]{10}T[:0-9]{8}Z: /,
  );
  t.regex(alarms[1] ?? "", /^the server's interface eth0 is back after \d+ s: /);
});
