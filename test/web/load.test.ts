import test from "ava";
import type { NodeLoad } from "#protocol/load.ts";
import { kept, watchLoad } from "../../web/state/load.ts";

const load: NodeLoad = {
  ...{ cpuPercent: 1, loadAverage: 0.5, memoryUsedMiB: 1, memoryMiB: 2 },
  ...{ received: 0, sent: 0, uptimeSeconds: 1 },
};

function fakeBrowser() {
  const paths: string[] = [];
  let hear = (_data: string): void => undefined;
  let isOpen = false;
  let due: (() => void) | undefined;
  const watch = watchLoad("node_1", {
    openStream: (path) => {
      paths.push(path);
      isOpen = true;
      return {
        isClosed: false,
        on: (_name, listener) => {
          hear = listener;
        },
        close: () => {
          isOpen = false;
        },
      };
    },
    later: (work) => {
      due = work;
      return () => {
        due = undefined;
      };
    },
  });
  return {
    ...{ watch, paths },
    isOpen: () => isOpen,
    say: (cpuPercent: number) => hear(JSON.stringify({ ...load, cpuPercent })),
    pass: () => due?.(),
  };
}

test("samples are kept for a minute", (t) => {
  const { watch, paths, say } = fakeBrowser();
  t.deepEqual(paths, ["/api/v1/nodes/node_1/load"]);
  for (let index = 0; index < kept + 5; index++) say(index % 100);
  t.is(watch.samples.value.length, kept);
  t.is(watch.samples.value.at(-1)?.cpuPercent, (kept + 4) % 100);
});

test("a node that falls silent is stale until it speaks again", (t) => {
  const { watch, say, pass } = fakeBrowser();
  t.true(watch.isStale.value);
  say(1);
  t.false(watch.isStale.value);
  pass();
  t.true(watch.isStale.value);
  say(2);
  t.false(watch.isStale.value);
});

test("whoever looks no more closes the stream", (t) => {
  const { watch, isOpen, say } = fakeBrowser();
  say(1);
  watch.stop();
  t.false(isOpen());
});
