import test from "ava";
import type { NodeId } from "#protocol/brand.ts";
import type { NodeLoad } from "#protocol/load.ts";
import { createWatching } from "../../server/node/watching.ts";
import { manualClock } from "../support/manual-clock.ts";

const node = "node_1" as NodeId;
const load: NodeLoad = {
  ...{ cpuPercent: 1, loadAverage: 0, memoryUsedMiB: 1, memoryMiB: 2 },
  ...{ received: 0, sent: 0, uptimeSeconds: 1 },
};

test("one sample serves all who look, and nobody who does not", (t) => {
  const watching = createWatching(manualClock());
  const got: string[] = [];
  const begun: string[] = [];
  watching.onBegin((id) => begun.push(id));
  watching.tell(node, load);
  const first = watching.follow(node, () => got.push("first"));
  const second = watching.follow(node, () => got.push("second"));
  watching.tell(node, load);
  watching.tell("node_2" as NodeId, load);
  t.deepEqual(got, ["first", "second"]);
  first();
  t.true(watching.isWatched(node));
  second();
  second();
  t.false(watching.isWatched(node));
  t.deepEqual(begun, [node]);
});

test("samples are missed until one comes, and again when none did for 3 s", async (t) => {
  const clock = manualClock();
  const watching = createWatching(clock);
  t.false(watching.isMissed(node));
  watching.follow(node, () => undefined);
  t.true(watching.isMissed(node));
  watching.tell(node, load);
  await clock.advance(3000);
  t.false(watching.isMissed(node));
  await clock.advance(1);
  t.true(watching.isMissed(node));
});
