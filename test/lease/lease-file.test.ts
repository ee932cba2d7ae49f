import fs, { readFileSync, statSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { fc, testProp } from "@fast-check/ava";
import test, { type ExecutionContext } from "ava";
import { after, type Instant, ipv4FromNumber, type Milliseconds } from "#protocol/brand.ts";
import { systemClock } from "../../server/clock.ts";
import { ConfigurationError, UnavailableError } from "../../server/errors.ts";
import { openLeaseFile } from "../../server/lease/lease-file.ts";
import { decodeLeaseFile, encodeLine, type LeaseRecord } from "../../server/lease/lease-format.ts";
import { silentLog } from "../../server/log.ts";
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
const context = { clock: systemClock, log: silentLog };

function pathIn(t: ExecutionContext): string {
  return join(temporaryDirectory(t), "leases");
}

async function written(
  t: ExecutionContext,
  ...commits: readonly (readonly LeaseRecord[])[]
): Promise<string> {
  const path = pathIn(t);
  const file = await openLeaseFile(path, context);
  for (const records of commits) await file.append(records, nothing);
  await file.close();
  return path;
}

async function found(path: string): Promise<readonly LeaseRecord[]> {
  const file = await openLeaseFile(path, context);
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
  const first = await openLeaseFile(path, context, [promised]);
  await first.close();
  const second = await openLeaseFile(path, context, [declined]);
  await second.close();
  t.deepEqual([first.found, second.found], [[promised], [promised]]);
});

test("the line is a checksum and a list, filled to whole blocks: other programs can read it", (t) => {
  const line = encodeLine([promised, { state: "free", address: ip("10.77.0.9") }]).toString();
  const list = '[["10.77.0.100","p","52:54:00:00:00:0a",1800000000000],["10.77.0.9","f"]]';
  t.is(line.slice(8), ` ${list.padEnd(4086)}\n`);
  t.is(line.slice(0, 8), "cf45dc81");
});

test("each commit begins a block of its own", async (t) => {
  const path = await written(t, [promised], manyRecords(0, 100), [declined]);
  const bytes = readFileSync(path);
  const starts = [0];
  for (let end = bytes.indexOf("\n", 4000); end >= 0; end = bytes.indexOf("\n", end + 1)) {
    starts.push(end + 1);
  }
  t.deepEqual(starts, [0, 4096, 8192, 16384, 20480]);
});

test("a file of many records is read as it was written", async (t) => {
  const all = manyRecords(0, 1234);
  const path = pathIn(t);
  const first = await openLeaseFile(path, context, all);
  await first.close();
  t.deepEqual(await found(path), all);
});

// As the first version wrote them: no blanks, the next line in the same block.
test("lines that fill no block are read too", (t) => {
  const bytes = Buffer.from(
    'marcoboot-leases 1\n7545b0b6 [["10.77.0.100","p","52:54:00:00:00:0a",1800000000000],["10.77.0.9","f"]]\n\0\0',
  );
  t.deepEqual(decodeLeaseFile(bytes, "x"), { records: [promised] });
});

test("a file is written anew when it has grown, and loses nothing of what comes meanwhile", async (t) => {
  const path = pathIn(t);
  const file = await openLeaseFile(path, context);
  const live = new Map<string, LeaseRecord>();
  const inodes = new Set<number>();
  for (let round = 0; round < 600; round++) {
    const records = manyRecords(round, 500);
    for (const record of records) live.set(record.address, record);
    await file.append(records, () => live.values());
    inodes.add(statSync(path).ino);
    await turn(); // as a server does, whose sockets are read meanwhile
  }
  await file.close();
  t.true(inodes.size > 1);
  const sorted = (records: Iterable<LeaseRecord>) =>
    [...records].map((one) => JSON.stringify(one)).toSorted();
  t.deepEqual(sorted(await found(path)), sorted(live.values()));
});

function manyRecords(round: number, count: number): readonly LeaseRecord[] {
  return Array.from({ length: count }, (_, index) => {
    const address = ipv4FromNumber(0x0a000000 + ((round * 7 + index) % 2000));
    return { ...promised, address, until: (until + round) as Instant };
  });
}

const commits: readonly (readonly LeaseRecord[])[] = [
  [promised],
  [identified, declined],
  [{ ...promised, until: (until + 1) as Instant }],
];
/** The octets up to the fill of NULs, and what each prefix of the commits leaves. */
function example() {
  const lines = commits.map((records) => encodeLine(records));
  const text = `marcoboot-leases 1\n${lines.join("")}`;
  const states = [0, 1, 2, 3].map(
    (count) =>
      decodeLeaseFile(Buffer.from(`marcoboot-leases 1\n${lines.slice(0, count).join("")}`), "x")
        .records,
  );
  return { bytes: Buffer.from(text), states: states.map((state) => JSON.stringify(state)) };
}

test("cut at any length, the file opens with the commits that are whole", (t) => {
  const { bytes, states } = example();
  const start = bytes.indexOf("\n") + 1;
  for (let length = start; length <= bytes.length; length++) {
    const state = JSON.stringify(decodeLeaseFile(bytes.subarray(0, length), "x").records);
    t.true(states.includes(state), `${length}`);
  }
});

test("a torn last line may have left anything behind it", (t) => {
  const { bytes, states } = example();
  const torn = Buffer.concat([bytes, Buffer.from('deadbeef [["10.77.0.9","p'), Buffer.alloc(999)]);
  const { records, torn: from } = decodeLeaseFile(torn, "x");
  t.is(JSON.stringify(records), String(states[3]));
  t.is(from, bytes.length);
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
      t.true(states.includes(JSON.stringify(decodeLeaseFile(bytes, "x").records)));
    } else if (offset === last - 1) {
      // the end of the last line but one: it and the last are one torn line then
      t.is(JSON.stringify(decodeLeaseFile(bytes, "x").records), String(states[1]));
    } else {
      t.throws(() => decodeLeaseFile(bytes, "x"), { instanceOf: ConfigurationError });
    }
  },
);

test("a line that was cut is told once, and an end of NULs is none", async (t) => {
  const path = await written(t, [promised]);
  const warnings: object[] = [];
  const told = {
    clock: systemClock,
    log: { warn: (fields: object) => void warnings.push(fields) },
  };
  const open = async () => await (await openLeaseFile(path, told)).close();
  await open();
  t.deepEqual(warnings, []);
  const bytes = readFileSync(path);
  bytes.write('deadbeef [["10.77.0.9","p', 8192); // of two blocks the second came first
  writeFileSync(path, bytes);
  await open();
  await open();
  t.deepEqual(warnings, [{ path, octet: 4096 }]);
  t.deepEqual(await found(path), [promised]);
});

test("damage is told with its place, and the file is left alone", async (t) => {
  const path = await written(t, [promised], [declined]);
  const bytes = readFileSync(path);
  bytes[40] = 0;
  writeFileSync(path, bytes);
  await t.throwsAsync(openLeaseFile(path, context), {
    instanceOf: ConfigurationError,
    message: /leases: damaged from octet 33 on: restore a backup/,
  });
  t.true(readFileSync(path).equals(bytes));
});

const hour = 3_600_000 as Milliseconds;
const bootAt = (began: number) => ({ ...context, boot: { id: "a boot", began: began as Instant } });

test("of the same boot of the machine leases end by the clock of today, whatever it was when they were written", async (t) => {
  const path = pathIn(t);
  const open = async (began: number, records: readonly LeaseRecord[] = []) => {
    const file = await openLeaseFile(path, bootAt(began));
    if (records.length > 0) await file.append(records, nothing);
    await file.close();
    return file.found;
  };
  await open(0, [promised, declined]); // in 1970
  const later = [promised, declined].map((one) => ({ ...one, until: after(until, hour) }));
  t.deepEqual(await open(hour), later);
  t.deepEqual(await open(hour), later, "once");
  t.deepEqual(await open(0), [promised, declined], "and back");
});

test("of another boot, or a file that says none, leases end as they were written", async (t) => {
  const path = await written(t, [promised]);
  t.deepEqual(await found(path), [promised]);
  for (const id of ["a boot", "the next boot"]) {
    const file = await openLeaseFile(path, { ...context, boot: { id, began: until } });
    await file.close();
    t.deepEqual(file.found, [promised]);
  }
});

test("one changed octet of the first line is found", async (t) => {
  const path = pathIn(t);
  await (await openLeaseFile(path, bootAt(12))).close();
  const bytes = readFileSync(path);
  const length = bytes.indexOf("\n");
  for (let at = 0; at < length; at++) {
    for (const bits of [1, 4, 16]) {
      const damaged = Buffer.from(bytes);
      damaged[at] = (damaged[at] ?? 0) ^ bits;
      t.throws(() => decodeLeaseFile(damaged, "x"), { instanceOf: ConfigurationError });
    }
  }
});

for (const [title, text, message] of [
  ["something else", "not a lease file\n", /does not begin as one/],
  ["an empty file", "", /does not begin as one/],
  [
    "the file of a newer marcoboot",
    "marcoboot-leases 3 and more\n",
    /has version 3, this marcoboot knows 2/,
  ],
  ["another boot than was written", "marcoboot-leases 2 00000000 null\n", /first line is damaged/],
  ["a first line that was cut", "marcoboot-leases 2\n", /first line is damaged/],
] as const) {
  test(`${title} is refused and left alone`, async (t) => {
    const path = pathIn(t);
    writeFileSync(path, text);
    await t.throwsAsync(openLeaseFile(path, context), {
      instanceOf: ConfigurationError,
      message,
    });
    t.is(readFileSync(path, "utf8"), text);
  });
}

test.serial(
  "D38: after a write that failed the file is trusted no more: the next commit makes another, with all there was",
  async (t) => {
    const path = pathIn(t);
    const told = { ...context, clock: { monotonic: () => 0 as Milliseconds } }; // a quick disk
    const file = await openLeaseFile(path, told);
    await file.append([promised], nothing);
    const before = statSync(path).ino;
    const { writeSync } = fs;
    fs.writeSync = () => {
      throw Object.assign(new Error("EIO: i/o error, write"), { code: "EIO" });
    };
    syncBuiltinESMExports();
    const failed = file.append([declined], () => [promised]);
    fs.writeSync = writeSync;
    syncBuiltinESMExports();
    await t.throwsAsync(failed, {
      instanceOf: UnavailableError,
      message: /cannot be written: EIO/,
    });
    t.deepEqual(decodeLeaseFile(readFileSync(path), path).records, [promised]);
    await file.append([declined, identified], () => [promised]);
    t.not(statSync(path).ino, before);
    await file.close();
    t.deepEqual(await found(path), [promised, declined, identified]);
  },
);

test("a directory that is not there is told when it is opened", async (t) => {
  await t.throwsAsync(openLeaseFile(join(temporaryDirectory(t), "none", "leases"), context), {
    instanceOf: ConfigurationError,
  });
});

test("nothing can be appended after the end", async (t) => {
  const file = await openLeaseFile(pathIn(t), context);
  await file.close();
  await t.throwsAsync(file.append([promised], nothing), { instanceOf: UnavailableError });
});
