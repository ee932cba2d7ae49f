import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fc, testProp } from "@fast-check/ava";
import test, { type ExecutionContext } from "ava";
import { type Instant, ipv4FromNumber } from "#protocol/brand.ts";
import { systemClock } from "../../server/clock.ts";
import { ConfigurationError, UnavailableError } from "../../server/errors.ts";
import {
  decodeLeaseFile,
  encodeLine,
  type LeaseRecord,
  openLeaseFile,
} from "../../server/lease/lease-file.ts";
import { ip, mac } from "../support/network.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const until = 1_800_000_000_000 as Instant;
const a = mac("52:54:00:00:00:0a");
const b = mac("52:54:00:00:00:0b");
const promised: LeaseRecord = { state: "promised", address: ip("10.77.0.100"), mac: a, until };
const identified: LeaseRecord = {
  state: "promised",
  address: ip("10.77.0.101"),
  mac: b,
  until,
  clientId: "01525400",
};
const declined: LeaseRecord = { state: "declined", address: ip("10.77.0.102"), mac: a, until };
const nothing = () => [];

function pathIn(t: ExecutionContext): string {
  return join(temporaryDirectory(t), "leases");
}

async function written(
  t: ExecutionContext,
  ...commits: readonly (readonly LeaseRecord[])[]
): Promise<string> {
  const path = pathIn(t);
  const file = await openLeaseFile(path, systemClock);
  for (const records of commits) await file.append(records, nothing);
  await file.close();
  return path;
}

async function found(path: string): Promise<readonly LeaseRecord[]> {
  const file = await openLeaseFile(path, systemClock);
  await file.close();
  return file.found;
}

test("what was appended is found again, and nobody else may read it", async (t) => {
  const path = await written(t, [promised], [identified, declined]);
  t.deepEqual(await found(path), [promised, identified, declined]);
  t.is(statSync(path).mode & 0o777, 0o600);
});

test("the last record of an address counts, and a free one is gone", async (t) => {
  const later = { ...promised, mac: b };
  const path = await written(
    t,
    [promised, declined],
    [{ state: "free", address: declined.address }, later],
  );
  t.deepEqual(await found(path), [later]);
});

test("a file that is not there takes over what was kept elsewhere, and only then", async (t) => {
  const path = pathIn(t);
  const first = await openLeaseFile(path, systemClock, [promised]);
  await first.close();
  const second = await openLeaseFile(path, systemClock, [declined]);
  await second.close();
  t.deepEqual([first.found, second.found], [[promised], [promised]]);
});

test("the line is a checksum and a list: other programs can read it", (t) => {
  t.is(
    encodeLine([promised, { state: "free", address: ip("10.77.0.9") }]),
    '7545b0b6 [["10.77.0.100","p","52:54:00:00:00:0a",1800000000000],["10.77.0.9","f"]]\n',
  );
});

test("a file is written anew when it has grown, and loses nothing of what comes meanwhile", async (t) => {
  const path = pathIn(t);
  const file = await openLeaseFile(path, systemClock);
  const live = new Map<string, LeaseRecord>();
  let largest = 0;
  for (let round = 0; round < 400; round++) {
    const records = Array.from({ length: 500 }, (_, index): LeaseRecord => {
      const address = ipv4FromNumber(0x0a000000 + ((round * 7 + index) % 2000));
      return { ...promised, address, until: (until + round) as Instant };
    });
    for (const record of records) live.set(record.address, record);
    await file.append(records, () => live.values());
    largest = Math.max(largest, statSync(path).size);
  }
  await file.close();
  t.true(largest > 8 << 20, `${largest}`);
  t.true(statSync(path).size < largest);
  const sorted = (records: Iterable<LeaseRecord>) =>
    [...records].map((one) => JSON.stringify(one)).toSorted();
  t.deepEqual(sorted(await found(path)), sorted(live.values()));
});

const commits: readonly (readonly LeaseRecord[])[] = [
  [promised],
  [identified, declined],
  [{ ...promised, until: (until + 1) as Instant }],
];
/** The octets up to the fill of NULs, and what each prefix of the commits leaves. */
function example() {
  const lines = commits.map(encodeLine);
  const text = `marcoboot-leases 1\n${lines.join("")}`;
  const states = [0, 1, 2, 3].map((count) =>
    decodeLeaseFile(Buffer.from(`marcoboot-leases 1\n${lines.slice(0, count).join("")}`), "x"),
  );
  return { bytes: Buffer.from(text), states: states.map((state) => JSON.stringify(state)) };
}

test("cut at any length, the file opens with the commits that are whole", (t) => {
  const { bytes, states } = example();
  const start = bytes.indexOf("\n") + 1;
  for (let length = start; length <= bytes.length; length++) {
    const state = JSON.stringify(decodeLeaseFile(bytes.subarray(0, length), "x"));
    t.true(states.includes(state), `${length}`);
  }
});

test("a torn last line may have left anything behind it", (t) => {
  const { bytes, states } = example();
  const torn = Buffer.concat([bytes, Buffer.from('deadbeef [["10.77.0.9","p'), Buffer.alloc(999)]);
  t.is(JSON.stringify(decodeLeaseFile(torn, "x")), String(states[3]));
});

testProp(
  "an octet that was flipped is found: the file is refused, or it was in the last line",
  [fc.nat(), fc.integer({ min: 1, max: 255 })],
  (t, where, bits) => {
    const { bytes, states } = example();
    const offset = where % bytes.length;
    bytes[offset] = (bytes[offset] ?? 0) ^ bits;
    const last = bytes.length - encodeLine(commits[2] ?? []).length;
    if (offset >= last) {
      t.true(states.includes(JSON.stringify(decodeLeaseFile(bytes, "x"))));
    } else if (offset === last - 1) {
      // the end of the last line but one: it and the last are one torn line then
      t.is(JSON.stringify(decodeLeaseFile(bytes, "x")), String(states[1]));
    } else {
      t.throws(() => decodeLeaseFile(bytes, "x"), { instanceOf: ConfigurationError });
    }
  },
);

test("damage is told with its place, and the file is left alone", async (t) => {
  const path = await written(t, [promised], [declined]);
  const bytes = readFileSync(path);
  bytes[30] = 0;
  writeFileSync(path, bytes);
  await t.throwsAsync(openLeaseFile(path, systemClock), {
    instanceOf: ConfigurationError,
    message: /leases: damaged from octet 19 on: restore a backup/,
  });
  t.deepEqual(readFileSync(path), bytes);
});

for (const [title, text, message] of [
  ["something else", "not a lease file\n", /does not begin as one/],
  ["an empty file", "", /does not begin as one/],
  [
    "the file of a newer marcoboot",
    "marcoboot-leases 2\n",
    /has version 2, this marcoboot knows 1/,
  ],
] as const) {
  test(`${title} is refused and left alone`, async (t) => {
    const path = pathIn(t);
    writeFileSync(path, text);
    await t.throwsAsync(openLeaseFile(path, systemClock), {
      instanceOf: ConfigurationError,
      message,
    });
    t.is(readFileSync(path, "utf8"), text);
  });
}

test("a directory that is not there is told when it is opened", async (t) => {
  await t.throwsAsync(openLeaseFile(join(temporaryDirectory(t), "none", "leases"), systemClock), {
    instanceOf: ConfigurationError,
  });
});

test("nothing can be appended after the end", async (t) => {
  const file = await openLeaseFile(pathIn(t), systemClock);
  await file.close();
  await t.throwsAsync(file.append([promised], nothing), { instanceOf: UnavailableError });
});
