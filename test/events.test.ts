import test from "ava";
import { createEventBus, unhurried } from "../server/events.ts";
import { silentLog } from "../server/log.ts";
import { manualClock } from "./support/manual-clock.ts";

const alarm = { topic: "alarm", text: "another DHCP server" } as const;

test("a listener of one topic hears that topic only", (t) => {
  const bus = createEventBus(silentLog);
  const heard: string[] = [];
  bus.on("alarm", (event) => heard.push(event.text));
  bus.publish({ topic: "learning", state: "running", text: "a/1" });
  bus.publish(alarm);
  t.deepEqual(heard, ["another DHCP server"]);
});

test("a listener that throws does not keep the event from the next one", (t) => {
  const bus = createEventBus(silentLog);
  let heard = 0;
  bus.subscribe(() => {
    throw new Error("broken listener");
  });
  bus.subscribe(() => {
    heard += 1;
  });
  bus.publish(alarm);
  t.is(heard, 1);
});

test("an ended subscription hears nothing more", (t) => {
  const bus = createEventBus(silentLog);
  let heard = 0;
  const end = bus.subscribe(() => {
    heard += 1;
  });
  end();
  bus.publish(alarm);
  t.is(heard, 0);
});

test("an unhurried bus tells a moment later, in order", async (t) => {
  const heard: string[] = [];
  const clock = manualClock();
  const bus = createEventBus(silentLog);
  bus.on("alarm", ({ text }) => heard.push(text));
  const events = unhurried(bus, { clock, log: silentLog });
  events.publish({ topic: "alarm", text: "first" });
  events.afterwards(() => {
    throw new RangeError("disturbs nobody");
  });
  events.afterwards(() => events.publish({ topic: "alarm", text: "second" }));
  events.publish({ topic: "alarm", text: "third" });
  t.deepEqual(heard, []);
  await clock.advance(10);
  t.deepEqual(heard, ["first", "second", "third"]);
});
