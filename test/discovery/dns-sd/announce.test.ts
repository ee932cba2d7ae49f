import { setImmediate } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { type Milliseconds, milliseconds } from "#protocol/brand.ts";
import { announce } from "../../../server/discovery/shared/dns-sd/announce.ts";
import {
  type DnsRecord,
  decodeDns,
  encodeDns,
} from "../../../server/discovery/shared/dns-sd/message.ts";
import { mdnsPort } from "../../../server/discovery/shared/dns-sd/responder.ts";
import type { Service } from "../../../server/discovery/shared/services.ts";
import { createSegment, linkAt, type Segment } from "../network.ts";

const group = "224.0.0.251";
const marcoboot: Service = { id: "marcoboot", params: { port: 8443 }, groups: [] };

/** Time in which every sleeper wakes when it is due, in order. */
function createTime() {
  let now = 0;
  const sleepers = new Set<{ at: number; wake: () => void }>();
  return {
    monotonic: () => milliseconds(now) as Milliseconds,
    sleep: (duration: number, signal: AbortSignal) =>
      new Promise<void>((resolve) => {
        const sleeper = { at: now + duration, wake: resolve };
        sleepers.add(sleeper);
        signal.addEventListener("abort", () => resolve(), { once: true });
      }),
    async pass(duration: number): Promise<void> {
      const end = now + duration;
      for (;;) {
        for (let turn = 0; turn < 5; turn++) await setImmediate();
        const next = [...sleepers].toSorted((a, b) => a.at - b.at)[0];
        if (!next || next.at > end) break;
        now = next.at;
        sleepers.delete(next);
        next.wake();
      }
      now = end;
    },
  };
}

async function announcer(
  t: ExecutionContext,
  segment: Segment,
  address: string,
  services: () => readonly Service[] = () => [marcoboot],
) {
  const time = createTime();
  const names: string[] = [];
  const announcing = await announce({
    link: linkAt(address),
    services,
    host: { name: "server", label: "server", addresses: [address] },
    open: segment.open,
    monotonic: time.monotonic,
    sleep: time.sleep,
    random: () => 0,
    onNamed: (name) => void names.push(name),
  });
  t.teardown(() => announcing.close());
  const said = () =>
    segment.sent
      .filter(({ from }) => from === address)
      .flatMap(({ bytes }) => decodeDns(bytes) ?? [])
      .map((message) => {
        const line = (one: DnsRecord) => `${one.ttl === 0 ? "-" : "+"}${one.type}`;
        return message.isResponse ? message.answers.map(line).join(" ") : "probe";
      });
  return { ...time, announcing, names, said };
}

const everything = "+PTR +PTR +SRV +TXT +A";

test("three probes, two announcements, and a goodbye at the end", async (t) => {
  const segment = createSegment();
  const { pass, said, names, announcing } = await announcer(t, segment, "10.77.0.1");
  await pass(600);
  t.deepEqual(said(), ["probe", "probe", "probe"]);
  await pass(400);
  t.deepEqual(names, ["server"]);
  await pass(9000);
  t.deepEqual(said(), ["probe", "probe", "probe", everything, everything]);
  await announcing.close();
  t.is(said().at(-1), everything.replaceAll("+", "-"));
});

test("a name that somebody has gets a number", async (t) => {
  const segment = createSegment();
  const first = await announcer(t, segment, "10.77.0.1");
  await first.pass(5000);
  const second = await announcer(t, segment, "10.77.0.2");
  await second.pass(200);
  t.deepEqual(second.names, []);
  await second.pass(5000);
  t.deepEqual([first.names, second.names], [["server"], ["server (2)"]]);
});

test("of two that probe for one name at the same time, one gives way", async (t) => {
  const segment = createSegment();
  const first = await announcer(t, segment, "10.77.0.1");
  const second = await announcer(t, segment, "10.77.0.2");
  for (let turn = 0; turn < 30; turn++) await Promise.all([first.pass(100), second.pass(100)]);
  t.deepEqual([first.names, second.names], [["server (2)"], ["server"]]);
});

test("a changed service is announced, one that is gone taken back", async (t) => {
  const segment = createSegment();
  let services: readonly Service[] = [marcoboot];
  const { pass, said } = await announcer(t, segment, "10.77.0.1", () => services);
  await pass(5000);
  const before = said().length;
  services = [marcoboot, { id: "deployer", params: { port: 1342 }, groups: [] }];
  await pass(5000);
  t.true(said().slice(before).includes("+PTR +PTR +SRV +TXT +PTR +PTR +SRV +TXT +A"));
  services = [marcoboot];
  const then = said().length;
  await pass(5000);
  t.is(said()[then], "-PTR -PTR -SRV -TXT");
});

test("questions from beyond the link get silence", async (t) => {
  const segment = createSegment();
  const { pass, said } = await announcer(t, segment, "10.77.0.1");
  await pass(5000);
  const before = said().length;
  const name = ["_marcoboot", "_tcp", "local"];
  const questions = [{ name, type: "PTR", wantsUnicast: false }] as const;
  const question = encodeDns({ isResponse: false, questions });
  segment.deliver(question, { address: "192.0.2.1", port: mdnsPort }, group, mdnsPort);
  await pass(500);
  t.is(said().length, before);
  segment.deliver(question, { address: "10.77.0.9", port: mdnsPort }, group, mdnsPort);
  await pass(500);
  t.is(said().length, before + 1);
});
