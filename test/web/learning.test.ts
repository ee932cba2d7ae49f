import { signal } from "@preact/signals";
import test from "ava";
import { type Instant, parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import type { StoredEvent } from "#protocol/events.ts";
import type { Flag, LearningStatus, SlotLearning } from "#protocol/learning.ts";
import { followLearning, shownFlags, stackProgress } from "../../web/state/learning.ts";

const mac = parseMacAddress("dc:a6:32:00:00:01");
const address = parseIpv4Address("10.77.0.10");
const ref = (stack: string, slot: string) => ({ rack: "r", stack, slot });
const status = (slots: readonly SlotLearning[], flagged: readonly Flag[] = []): LearningStatus => ({
  state: "running",
  slots,
  flagged,
});

test("a stack says how far it is, and first what needs attention", (t) => {
  const progress = stackProgress(
    status([
      { state: "heard", slot: ref("a", "1"), mac, address },
      { state: "heard", slot: ref("a", "2"), mac, address },
      { state: "heard", slot: ref("b", "1"), mac, address },
      { state: "flagged", slot: ref("b", "2"), reason: "nobody was heard" },
      { state: "listening", slot: ref("c", "1") },
      { state: "waiting", slot: ref("d", "1") },
      { state: "seen", slot: ref("e", "1"), mac },
    ]),
  );
  t.deepEqual(
    progress.map(({ stack, state, text }) => `${stack} ${state}: ${text}`),
    [
      "a heard: 2 of 2 placed",
      "b flagged: 1 of 2 placed, to look at",
      "c listening: 0 of 1 placed, listening",
      "d waiting: 0 of 1 placed, waiting",
      "e seen: 1 heard",
    ],
  );
});

test("boards that only wait for a yes are one line for each stack", (t) => {
  const unconfirmed = (slot: string): Flag => ({
    ...{ reason: "unconfirmed", text: "by order", stack: "a", slot: ref("a", slot), mac },
    answers: ["confirm", "swap"],
  });
  const moved: Flag = {
    ...{ reason: "moved", text: "moved?", remedy: "say", stack: "b", slot: ref("b", "1"), mac },
    answers: ["confirm", "keep"],
  };
  const shown = shownFlags(status([], [unconfirmed("1"), moved, unconfirmed("2")]));
  t.deepEqual(
    shown.map(({ reason, target, answers }) => [reason, target, answers.join(" ")]),
    [
      ["moved", mac, "confirm keep"],
      ["unconfirmed", "a", "confirm swap"],
    ],
  );
});

test("it is asked for again after news of learning, and after no other", async (t) => {
  const news = signal<StoredEvent | undefined>(undefined);
  const delays: number[] = [];
  const live = followLearning({
    news,
    fetch: async () => status([]),
    later: (_work, delayMs) => {
      delays.push(delayMs);
      return () => undefined;
    },
  });
  await new Promise((resolve) => setImmediate(resolve));
  t.deepEqual(live.answer.value, status([]));
  news.value = { id: 1, at: 1 as Instant, event: { topic: "alarm", text: "no" } };
  news.value = {
    id: 2,
    at: 1 as Instant,
    event: { topic: "learning", state: "running", text: "a" },
  };
  t.deepEqual(delays, [30_000, 300]);
  live.stop();
});
