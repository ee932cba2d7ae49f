import { readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import type { DiskGuard } from "#protocol/disk.ts";
import type { BurnInResult } from "#protocol/node.ts";
import { AgentError } from "../../netinst/errors.ts";
import { burnIn } from "../../netinst/steps/burn-in.ts";
import { positions, testDisk } from "../../netinst/steps/test-disk.ts";
import { check, testMemory } from "../../netinst/steps/test-memory.ts";
import { testProcessor } from "../../netinst/steps/test-processor.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { recordConsole } from "./support.ts";

const mebibyte = 1 << 20;
/** Over as soon as every part has done its least. */
const over = { until: 0, pause: async () => undefined };

function diskFile(t: ExecutionContext, content = Buffer.alloc(0)): string {
  const path = join(temporaryDirectory(t), "disk");
  writeFileSync(path, content);
  truncateSync(path, 8 * mebibyte);
  return path;
}

async function test8MiB(
  path: string,
  guard: DiskGuard,
  signal = new AbortController().signal,
): Promise<{ results: readonly BurnInResult[]; percents: readonly number[]; lines: string[] }> {
  const console = recordConsole();
  const percents: number[] = [];
  const assignment = { seconds: 0.01, writeDisks: true, guard };
  const progress = (percent: number) => void percents.push(percent);
  const results = await burnIn({ assignment, console, diskFile: path, progress }, signal);
  return { results, percents, lines: console.lines };
}

test("memory, processor and a blank disk are tested, with progress, and the disk is blank again", async (t) => {
  const path = diskFile(t);
  const { results, percents, lines } = await test8MiB(path, { protectedSerials: [], onlyOver: [] });
  t.deepEqual(
    results.map(({ part, passed }) => [part, passed]),
    [
      ["memory", true],
      ["cpu", true],
      ["disk disk-file", true],
    ],
  );
  t.regex(results[0]?.text ?? "", /^\d+ MiB of \d+ free ones, \d+ passes of 5 patterns$/);
  t.regex(results[1]?.text ?? "", /^\d+ threads, \d+ rounds of sha-512 and square roots$/);
  t.regex(results[2]?.text ?? "", /^\d MiB of 8 written and read back$/);
  t.true(readFileSync(path).every((octet) => octet === 0));
  t.is(statSync(path).size, 8 * mebibyte);
  t.true(percents.every((percent, index) => percent >= (percents[index - 1] ?? 0)));
  t.true((percents.at(-1) ?? 0) > 60);
  t.is(lines.length, 3);
});

test("a disk with somebody's data is only read", async (t) => {
  const content = Buffer.alloc(8 * mebibyte, 0xa5);
  const path = diskFile(t, content);
  const { results } = await test8MiB(path, { protectedSerials: [], onlyOver: [] });
  t.regex(results[2]?.text ?? "", /^\d MiB of 8 read$/);
  t.true(readFileSync(path).equals(content));
});

test("a burn-in that is called off ends with the reason, not with a fault", async (t) => {
  const called = new AbortController();
  called.abort(new AgentError("the job was cancelled"));
  await t.throwsAsync(test8MiB(diskFile(t), { protectedSerials: [] }, called.signal), {
    message: "the job was cancelled",
  });
});

test("an octet that comes back different is told with its place", (t) => {
  const block = Buffer.alloc(8 << 20, 0x55);
  block[3 * mebibyte + 7] = 0x51;
  t.throws(() => check(block, 0x55, 2), {
    instanceOf: AgentError,
    message: "octet 19922951 of the tested memory: 55 was written, 51 came back",
  });
  t.throws(() => check(block, "address", 0), { message: /^octet 0 of the tested memory/ });
});

test("with hardly any free memory one block is tested all the same", async (t) => {
  t.is(await testMemory(over, 1000, 10), "8 MiB of 10 free ones, 1 passes of 5 patterns");
});

// Serial: what others take and give meanwhile would be counted.
test.serial(
  "memory is given back when its test ends, and no more is taken than one pass has time for",
  async (t) => {
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    const pause = async () => {
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    };
    await testMemory(
      {
        until: performance.now() + 60_000,
        pause: async () => {
          await pause();
          if (most > 40 * mebibyte) throw new AgentError("called off");
        },
      },
      64,
      1000,
    ).catch(() => undefined);
    t.true(most > 40 * mebibyte);
    t.true(process.memoryUsage().arrayBuffers - before < 8 * mebibyte);
    most = 0;
    await testMemory({ ...over, pause }, 64, 1000);
    t.true(most <= 9 * mebibyte, `${most} octets`);
  },
);

test("a thread that comes to another result is a fault", async (t) => {
  await t.throwsAsync(testProcessor(over, "another result"), {
    instanceOf: AgentError,
    message:
      /^round 1 of a thread came to 06ebf0e92f9fa1861920184bb4180577 \S+ instead of another result$/,
  });
});

test("a disk that ends earlier than it says is a fault", async (t) => {
  const path = diskFile(t);
  const disk = { name: "d", sizeBytes: 64 * mebibyte, removable: false };
  const until = performance.now() + 60_000;
  await t.throwsAsync(testDisk(disk, { isWritten: false, file: path }, { ...over, until }), {
    message: /^.*disk ends at \d+$/,
  });
});

test("a disk is visited all over, each MiB once, but not its first and last", (t) => {
  const all = [...positions(1000 * mebibyte)].map((position) => position / mebibyte);
  t.is(all.length, 998);
  t.is(new Set(all).size, 998);
  t.is(Math.min(...all), 1);
  t.is(Math.max(...all), 998);
  t.true(
    all.slice(0, 256).some((place) => place > 900),
    "the first round goes to the end",
  );
  t.deepEqual([...positions(2 * mebibyte)], []);
});
