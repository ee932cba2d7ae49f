import test from "ava";
import { milliseconds } from "#protocol/brand.ts";
import { deferenceTime, listeningTime, modeNow, modesAsSet } from "../../server/dhcp/mode.ts";
import { subnet, withoutPool } from "../support/network.ts";

const ms = milliseconds;
const start = ms(1000);
const auto = { ...subnet, mode: "auto" } as const;
const table = [
  ["auto listens at first", auto, start, undefined, "listening"],
  [
    "auto still listens just before its time is over",
    auto,
    1000 + listeningTime - 1,
    undefined,
    "listening",
  ],
  ["auto serves when nobody was heard", auto, 1000 + listeningTime, undefined, "dynamic"],
  [
    "auto without a pool serves the known",
    { ...withoutPool(subnet), mode: "auto" },
    1000 + listeningTime,
    undefined,
    "reservation",
  ],
  ["auto gives way while it listens", auto, 1500, 1200, "proxy"],
  ["auto gives way while it serves", auto, 90_000, 90_000, "proxy"],
  ["auto stays back for minutes", auto, 90_000 + deferenceTime - 1, 90_000, "proxy"],
  ["auto serves again after them", auto, 90_000 + deferenceTime, 90_000, "dynamic"],
  ["dynamic is not driven away", { ...subnet, mode: "dynamic" }, 2000, 1500, "dynamic"],
  ["reservation is not driven away", { ...subnet, mode: "reservation" }, 2000, 1500, "reservation"],
  ["proxy stays proxy", { ...subnet, mode: "proxy" }, 90_000, undefined, "proxy"],
  ["off stays off", { ...subnet, mode: "off" }, 90_000, undefined, "off"],
] as const;
for (const [title, where, now, lastHeard, expected] of table) {
  test(title, (t) => {
    const heard = {
      since: start,
      now: ms(now),
      lastHeard: lastHeard === undefined ? undefined : ms(lastHeard),
    };
    t.is(modeNow(where, heard), expected);
  });
}

test("without a detector auto answers nobody", (t) => {
  t.is(modesAsSet.of(auto), "listening");
});
