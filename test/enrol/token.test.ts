import { generateKeyPairSync } from "node:crypto";
import test, { type ExecutionContext } from "ava";
import { parseMacAddress } from "#protocol/brand.ts";
import { steadyClock } from "../../server/clock.ts";
import { codeOfKey } from "../../server/enrol/keys.ts";
import { createWindows, TokenRefusedError } from "../../server/enrol/token.ts";
import { EnrolmentRefusedError } from "../../server/errors.ts";
import { silentLog } from "../../server/log.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { createFakeClock } from "../support/fake-clock.ts";

const mac = parseMacAddress("dc:a6:32:00:00:01");
const other = parseMacAddress("dc:a6:32:00:00:02");
const minute = 60_000;
const newHolder = () =>
  generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" }).toString();
const own = newHolder();
const foreign = newHolder();

function setUp(t: ExecutionContext) {
  const store = openSqliteStore(":memory:");
  t.teardown(() => store.close());
  const clock = createFakeClock();
  const context = { store, clock, config: { enrolmentMinutes: 10 }, log: silentLog };
  const windows = createWindows(context);
  const opened = (): string => {
    windows.open(mac, "power-on");
    return windows.tokenFor(mac) ?? "";
  };
  const refusal = (work: () => void) => t.throws(work, { instanceOf: TokenRefusedError });
  return { store, clock, windows, opened, refusal, restarted: () => createWindows(context) };
}

test("a token is 128 bits in hex, and a new one for every window", (t) => {
  const { windows, opened } = setUp(t);
  const first = opened();
  t.regex(first, /^[0-9a-f]{32}$/);
  windows.burn(mac, { token: first, holder: own });
  t.not(opened(), first);
});

test("a node for which no window is open has no token", (t) => {
  const { windows, opened } = setUp(t);
  opened();
  t.is(windows.tokenFor(other), undefined);
});

test("the journal holds the hash of a token, never the token", (t) => {
  const { store, opened } = setUp(t);
  const token = opened();
  t.is(store.tokens.get(token), undefined);
});

test("a used token is no longer handed out", (t) => {
  const { windows, opened } = setUp(t);
  windows.burn(mac, { token: opened(), holder: own });
  t.is(windows.tokenFor(mac), undefined);
});

test("I80: a token used twice is refused and its node held", (t) => {
  const { windows, opened, refusal } = setUp(t);
  const token = opened();
  windows.burn(mac, { token, holder: own });
  t.is(refusal(() => windows.burn(mac, { token, holder: foreign }))?.holds, mac);
});

test("the holder of a used token may repeat its request while the window lasts", (t) => {
  const { windows, opened, clock, refusal } = setUp(t);
  const token = opened();
  windows.burn(mac, { token, holder: own });
  t.notThrows(() => windows.burn(mac, { token, holder: own }));
  clock.advance(10 * minute);
  refusal(() => windows.burn(mac, { token, holder: own }));
});

test("a restart of the server forgets neither who used a token nor an approval", (t) => {
  const { windows, opened, restarted, refusal } = setUp(t);
  const token = opened();
  windows.burn(mac, { token, holder: own });
  windows.approve(other);
  const later = restarted();
  t.notThrows(() => later.burn(mac, { token, holder: own }));
  refusal(() => later.burn(mac, { token, holder: foreign }));
  t.notThrows(() => later.burn(other, { holder: own }));
  t.notThrows(() => later.burn(other, { holder: own }));
  t.throws(() => later.burn(other, { holder: foreign }), { instanceOf: EnrolmentRefusedError });
});

test("an approval is used up only with the change it is part of", (t) => {
  const { windows, store } = setUp(t);
  windows.approve(mac);
  t.throws(() =>
    store.transaction(() => {
      windows.burn(mac, { holder: own });
      throw new Error("the node could not be written");
    }),
  );
  t.notThrows(() => windows.burn(mac, { holder: own }));
});

test("I80: a late token is refused and its node held, also a long time after", (t) => {
  const { windows, opened, clock, refusal } = setUp(t);
  const token = opened();
  clock.advance(10 * minute);
  t.is(windows.tokenFor(mac), undefined);
  t.is(refusal(() => windows.burn(mac, { token, holder: own }))?.holds, mac);
  clock.advance(60 * minute);
  windows.open(other, "power-on"); // forgets what is over
  t.is(refusal(() => windows.burn(mac, { token, holder: own }))?.holds, mac);
});

for (const years of [-50, 10]) {
  test(`a clock that is set by ${years} years neither ends a window nor keeps it open`, (t) => {
    const { store, clock, refusal } = setUp(t);
    const context = { store, config: { enrolmentMinutes: 10 }, log: silentLog };
    const windows = createWindows({ ...context, clock: steadyClock(clock) });
    windows.open(mac, "power-on");
    const token = windows.tokenFor(mac) ?? "";
    clock.jump(years * 365 * 24 * 60 * minute);
    clock.advance(9 * minute);
    t.is(windows.tokenFor(mac), token);
    t.notThrows(() => windows.check(mac, { token, holder: own }));
    clock.advance(minute);
    t.is(windows.tokenFor(mac), undefined);
    t.regex(refusal(() => windows.burn(mac, { token, holder: own }))?.message ?? "", /too late/);
  });
}

test("a server that starts in 1970, for want of a clock, opens no window of before again", (t) => {
  const { clock, opened, refusal, restarted } = setUp(t);
  const token = opened();
  clock.jump(-clock.now());
  const windows = restarted();
  t.is(windows.tokenFor(mac), undefined);
  t.regex(refusal(() => windows.burn(mac, { token, holder: own }))?.message ?? "", /another clock/);
  windows.open(mac, "power-on");
  const next = windows.tokenFor(mac) ?? "";
  t.notThrows(() => windows.burn(mac, { token: next, holder: own }));
});

test("a token is good until the last millisecond of its window", (t) => {
  const { windows, opened, clock } = setUp(t);
  const token = opened();
  clock.advance(10 * minute - 1);
  t.notThrows(() => windows.burn(mac, { token, holder: own }));
});

test("I80: a token that another MAC address brings is refused and its own node held", (t) => {
  const { windows, opened, refusal } = setUp(t);
  const token = opened();
  t.is(refusal(() => windows.burn(other, { token, holder: own }))?.holds, mac);
});

test("a guessed token is refused and holds nobody: guessing must not stop a rack", (t) => {
  const { windows, opened, refusal } = setUp(t);
  opened();
  t.is(refusal(() => windows.burn(mac, { token: "0".repeat(32), holder: own }))?.holds, undefined);
});

test("a window opened again lasts longer and keeps its token: a fetched script stays good", (t) => {
  const { windows, opened, clock } = setUp(t);
  const token = opened();
  clock.advance(9 * minute);
  t.is(opened(), token);
  clock.advance(9 * minute);
  t.notThrows(() => windows.burn(mac, { token, holder: own }));
});

test("a node that has its kernel line can enrol after a restart of the server", (t) => {
  const { opened, restarted } = setUp(t);
  const token = opened();
  t.notThrows(() => restarted().burn(mac, { token, holder: own }));
});

test("a window that is open at a restart has a token again, for the time that is left", (t) => {
  const { opened, restarted, clock } = setUp(t);
  const before = opened();
  clock.advance(9 * minute);
  const windows = restarted();
  const token = windows.tokenFor(mac) ?? "";
  t.regex(token, /^[0-9a-f]{32}$/);
  t.not(token, before);
  t.is(windows.tokenFor(mac), token);
  clock.advance(minute - 1);
  t.notThrows(() => windows.burn(mac, { token, holder: own }));
});

test("a window that ended has no token after a restart", (t) => {
  const { opened, restarted, clock } = setUp(t);
  opened();
  const early = restarted();
  t.truthy(early.tokenFor(mac));
  clock.advance(10 * minute);
  t.is(early.tokenFor(mac), undefined);
  t.is(restarted().tokenFor(mac), undefined);
});

test("a used window has no token after a restart", (t) => {
  const { windows, opened, restarted } = setUp(t);
  windows.burn(mac, { token: opened(), holder: own });
  t.is(restarted().tokenFor(mac), undefined);
});

test("a restart opens no window for another node", (t) => {
  const { opened, restarted } = setUp(t);
  opened();
  t.is(restarted().tokenFor(other), undefined);
});

test("the tokens of before and after a restart are one window: one use ends both", (t) => {
  const { opened, restarted, refusal } = setUp(t);
  const before = opened();
  const windows = restarted();
  const after = windows.tokenFor(mac) ?? "";
  windows.burn(mac, { token: before, holder: own });
  t.is(windows.tokenFor(mac), undefined);
  t.is(refusal(() => windows.burn(mac, { token: after, holder: foreign }))?.holds, mac);
  t.is(restarted().tokenFor(mac), undefined);
});

test("a job that goes on after a restart opens the window again; fetched scripts stay good", (t) => {
  const { opened, restarted, clock } = setUp(t);
  const before = opened();
  clock.advance(9 * minute);
  const windows = restarted();
  windows.open(mac, "power-on");
  t.not(windows.tokenFor(mac), before);
  clock.advance(9 * minute);
  t.notThrows(() => windows.burn(mac, { token: before, holder: own }));
});

test("a use that is undone leaves the window open", (t) => {
  const { windows, opened, store } = setUp(t);
  const token = opened();
  const fails = () =>
    store.transaction(() => {
      windows.burn(mac, { token, holder: own });
      throw new RangeError("the record cannot be written");
    });
  t.throws(fails, { instanceOf: RangeError });
  t.truthy(windows.tokenFor(mac));
  t.notThrows(() => windows.burn(mac, { token, holder: own }));
});

test("a token used before a restart is still used after it", (t) => {
  const { windows, opened, restarted, refusal } = setUp(t);
  const token = opened();
  windows.burn(mac, { token, holder: own });
  refusal(() => restarted().burn(mac, { token, holder: foreign }));
});

test("no refusal tells the token", (t) => {
  const { windows, opened, refusal } = setUp(t);
  const token = opened();
  t.false(refusal(() => windows.burn(other, { token, holder: own }))?.message.includes(token));
});

test("an approval is good for one key, which may repeat its request", (t) => {
  const { windows } = setUp(t);
  t.throws(() => windows.burn(mac, { holder: own }), { instanceOf: EnrolmentRefusedError });
  windows.approve(mac);
  t.throws(() => windows.burn(other, { holder: own }), { instanceOf: EnrolmentRefusedError });
  t.notThrows(() => windows.burn(mac, { holder: own }));
  t.notThrows(() => windows.burn(mac, { holder: own }));
  t.throws(() => windows.burn(mac, { holder: foreign }), { instanceOf: EnrolmentRefusedError });
});

test("an approval of one key's code is for no other key, and another key's request leaves it", (t) => {
  const { windows } = setUp(t);
  windows.approve(mac, codeOfKey(own));
  const refused = t.throws(() => windows.burn(mac, { holder: foreign }), {
    instanceOf: EnrolmentRefusedError,
  });
  t.true(refused?.message.includes(codeOfKey(foreign)));
  t.notThrows(() => windows.burn(mac, { holder: own }));
});

test("a check tells what a use would, and uses nothing up", (t) => {
  const { windows, opened, refusal } = setUp(t);
  const token = opened();
  windows.check(mac, { token, holder: own });
  windows.check(mac, { token, holder: foreign });
  windows.burn(mac, { token, holder: own });
  refusal(() => windows.check(mac, { token, holder: foreign }));
  t.throws(() => windows.check(other, { holder: own }), { instanceOf: EnrolmentRefusedError });
});

test("an approval ends with its window, for its holder too", (t) => {
  const { windows, clock } = setUp(t);
  windows.approve(mac);
  windows.burn(mac, { holder: own });
  clock.advance(10 * minute);
  t.throws(() => windows.burn(mac, { holder: own }), { instanceOf: EnrolmentRefusedError });
});
