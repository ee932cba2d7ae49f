import { signal } from "@preact/signals";
import test from "ava";
import { type Instant, parseIpv4Address } from "#protocol/brand.ts";
import type { DomainEvent, StoredEvent } from "#protocol/events.ts";
import type { Timeline } from "#protocol/timeline.ts";
import { concerns, followTimeline } from "../../web/state/timeline.ts";
import { makeNode } from "../http/support.ts";

const node = makeNode("a", "1");
const mine: DomainEvent = {
  topic: "dhcp",
  mac: node.mac,
  message: "discover",
  outcome: "offer",
  interface: "eth1",
};
const other = { ...mine, mac: makeNode("a", "2").mac };

function setUp(answer: () => Promise<Timeline>) {
  const news = signal<StoredEvent | undefined>(undefined);
  let id = 0;
  let asked = 0;
  let planned: { work: () => void; delayMs: number } | undefined;
  const live = followTimeline(node, {
    news,
    fetch: () => {
      asked += 1;
      return answer();
    },
    later(work, delayMs) {
      const one = { work, delayMs };
      planned = one;
      return () => {
        if (planned === one) planned = undefined;
      };
    },
  });
  const happen = (event: DomainEvent) => {
    id += 1;
    news.value = { id, at: id as Instant, event };
  };
  return { live, happen, asked: () => asked, planned: () => planned };
}

const empty = { mac: node.mac, findings: [], moments: [] } satisfies Timeline;
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("it is asked for at once, a second after news of the node, and every 15 s", async (t) => {
  const { live, happen, asked, planned } = setUp(async () => empty);
  await settled();
  t.is(asked(), 1);
  t.is(live.answer.value, empty);
  t.is(planned()?.delayMs, 15_000);
  happen(other);
  t.is(planned()?.delayMs, 15_000);
  happen(mine);
  const first = planned();
  t.is(first?.delayMs, 1000);
  happen(mine); // many events of a boot are one question
  t.is(planned(), first);
  first?.work();
  t.is(asked(), 2);
  t.is(planned()?.delayMs, 15_000);
  live.stop();
  t.is(planned(), undefined);
});

test("a question that failed says so, and the next one goes on", async (t) => {
  let fails = true;
  const { live, planned } = setUp(async () => {
    if (fails) throw new Error("gone");
    return empty;
  });
  await settled();
  t.true(live.failed.value);
  fails = false;
  planned()?.work();
  await settled();
  t.false(live.failed.value);
  t.is(live.answer.value, empty);
});

test("events by address, slot and task concern the node too", (t) => {
  const slot = node.slot ?? { rack: "", stack: "", slot: "" };
  t.true(concerns({ topic: "power", slot, state: "on", ok: true }, node));
  t.true(
    concerns(
      { topic: "netconsole", address: node.address ?? parseIpv4Address("0.0.0.0"), lines: [] },
      node,
    ),
  );
  t.false(concerns({ topic: "alarm", text: "x" }, node));
});
