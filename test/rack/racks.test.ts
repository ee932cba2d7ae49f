import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { instant, parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import type { Outlet } from "#protocol/rack.ts";
import { parseConfig } from "../../server/config.ts";
import {
  ConflictError,
  NotFoundError,
  PowerUnreachableError,
  PreconditionFailedError,
  RackFileError,
} from "../../server/errors.ts";
import { createSecrets } from "../../server/power/secrets.ts";
import { createRacks } from "../../server/rack/racks.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { makeNode } from "../http/support.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const canary = "canary-password";
const key = randomBytes(32);
const config = parseConfig(
  `subnets:
  - { cidr: 10.77.0.0/24, interface: lo, reserved: [10.77.0.10, 10.77.0.13], pool: [10.77.0.100, 10.77.0.199], router: 10.77.0.254 }`,
  "server.yaml",
);

function bench(options: { key?: Buffer; store?: ReturnType<typeof openSqliteStore> } = {}) {
  const store = options.store ?? openSqliteStore(":memory:");
  const probed: Outlet[] = [];
  const racks = createRacks({
    store,
    config,
    ownAddresses: [parseIpv4Address("10.77.0.1")],
    secrets: createSecrets(options.key ?? key, "secrets.key"),
    power: {
      async probe(outlet) {
        probed.push(outlet);
        const { host } = outlet.settings;
        if (host === "silent") throw new PowerUnreachableError("BMC silent: no answer");
        return outlet.driver === "manual" ? "unknown" : "off";
      },
    },
  });
  return { store, racks, probed };
}

const bmc = (host: string, password = canary) =>
  `{ driver: ipmi, settings: { host: ${host}, user: ada, password: ${password} } }`;
const file = (outlet: string) => `name: r\nstacks: [{ name: a, slots: 1, outlet: ${outlet} }]\n`;

test("secrets are sealed in the journal and kept when an export comes back", (t) => {
  const { store, racks } = bench();
  t.false(JSON.stringify(racks.put("r", file(bmc("h")))).includes(canary));
  t.false(JSON.stringify(store.racks.list()).includes(canary));
  const exported = racks.file("r");
  t.false(exported.includes(canary));
  t.false(JSON.stringify(racks.list()).includes("sealed"));
  t.deepEqual(racks.put("r", exported), racks.get("r"));
  const opened = createSecrets(key, "").open(store.racks.get("r")?.stacks[0]?.outlet as Outlet);
  t.is(opened.settings["password"], canary);
});

test("a kept secret is not handed to another machine", (t) => {
  const { racks } = bench();
  racks.put("r", file(bmc("h")));
  t.throws(() => racks.put("r", file(bmc("elsewhere", "{ kept: true }"))), {
    instanceOf: RackFileError,
    message: /none is kept for this device/,
  });
  t.throws(() => racks.put("new", file(bmc("x", "{ kept: true }")).replace("r\n", "new\n")), {
    instanceOf: RackFileError,
  });
});

test("racks of a version that kept secrets in clear are sealed at the start", (t) => {
  const store = openSqliteStore(":memory:");
  const outlet = { driver: "ipmi", settings: { host: "h", user: "u", password: canary } };
  const slots = [{ name: "1", hostname: "r-a-1" }];
  store.racks.put({ name: "r", stacks: [{ name: "a", x: 0, y: 0, outlet, slots }] });
  bench({ store });
  t.false(JSON.stringify(store.racks.list()).includes(canary));
});

test("a password that an older version wrote in clear is nowhere in the journal's files afterwards", (t) => {
  const path = join(temporaryDirectory(t), "journal.db");
  const held = () =>
    [path, `${path}-wal`].filter((one) => existsSync(one) && readFileSync(one).includes(canary));
  const older = openSqliteStore(path);
  const outlet = { driver: "ipmi", settings: { host: "h", user: "u", password: canary } };
  const slots = [{ name: "1", hostname: "r-a-1" }];
  const rack = { name: "r", stacks: [{ name: "a", x: 0, y: 0, outlet, slots }] };
  older.racks.put(rack);
  // A version in between sealed it, and left what was there before on its page.
  older.racks.put({ ...rack, stacks: [] });
  older.racks.put({ ...rack, name: "s" });
  older.close();
  t.deepEqual(held(), [path]);
  const store = openSqliteStore(path);
  t.teardown(() => store.close());
  bench({ store });
  t.deepEqual(held(), []);
  t.is(store.racks.list().length, 2);
});

test("with the key lost, a rack can still be shown, and given its passwords anew", async (t) => {
  const { store, racks } = bench();
  racks.put("r", file(bmc("h")));
  const later = bench({ store, key: randomBytes(32) }).racks;
  t.deepEqual(later.get("r"), racks.get("r"));
  t.throws(() => later.put("r", later.file("r")), { message: /restore that file, or give/ });
  const { differences } = await later.check(file(bmc("h")), false);
  t.deepEqual(
    differences.map(({ where }) => where),
    ["r/a outlet.settings.password.sealed", "r/a outlet.settings.password"],
  );
  later.put("r", file(bmc("h", "anew")));
  t.notThrows(() => later.put("r", later.file("r")));
});

test("whoever read an older rack does not replace a newer one", (t) => {
  const { racks } = bench();
  racks.put("r", file("{ driver: manual }"));
  const read = racks.revisionOf("r");
  racks.patch("r", { stacks: { a: { x: 3 } } }, read);
  const late = { instanceOf: PreconditionFailedError, message: /changed meanwhile: read it again/ };
  t.throws(() => racks.put("r", file("{ driver: manual }"), read), late);
  t.throws(() => racks.patch("r", { stacks: { a: { x: 4 } } }, read), late);
  t.is(racks.get("r").stacks[0]?.x, 3);
  racks.delete("r");
  t.throws(() => racks.put("r", file("{ driver: manual }"), read), {
    instanceOf: PreconditionFailedError,
    message: /not there any more/,
  });
  t.throws(() => racks.patch("r", {}), { instanceOf: NotFoundError });
});

test("a patch of the pattern renames slots that follow it, and keeps what was written by hand", (t) => {
  const { racks } = bench();
  racks.put("r", "name: r\nstacks: [{ name: a, slots: [{ name: 1 }, { name: 2, hostname: db }] }]");
  const { stacks } = racks.patch("r", { hostnames: "node-{n:02}" });
  t.deepEqual(
    stacks[0]?.slots.map(({ hostname }) => hostname),
    ["node-01", "db"],
  );
});

test("two racks cannot have the same outlet, name or address", (t) => {
  const { racks } = bench();
  racks.put("r", file(bmc("h")));
  const other = (slot: string) => `name: s\nstacks: [{ name: a, slots: [${slot}] }]`;
  for (const slot of [
    `{ name: 1, outlet: ${bmc("h", "other-password")} }`,
    "{ name: 1, hostname: r-a-1 }",
  ]) {
    t.throws(() => racks.put("s", other(slot)), {
      instanceOf: ConflictError,
      message: /is also in rack r: take it out of one/,
    });
  }
  t.is(racks.list().length, 1);
});

test("a file is compared place by place, and no secret is shown", async (t) => {
  const { racks } = bench();
  racks.put("r", file(bmc("h")));
  const changed = `name: r\naddresses: { first: 10.77.0.20 }\nstacks: [{ name: a, slots: 2, outlet: ${bmc("h", "canary-other")} }]`;
  const { differences } = await racks.check(changed, false);
  t.deepEqual(differences, [
    { where: "r/a outlet.settings.password", before: "(secret)", after: "(another secret)" },
    { where: "r addresses.first", after: "10.77.0.20" },
    { where: "r/a/1 address", after: "10.77.0.20" },
    { where: "r/a/2 hostname", after: "r-a-2" },
    { where: "r/a/2 address", after: "10.77.0.21" },
  ]);
  const same = await racks.check(file(bmc("h")), false);
  t.deepEqual(same.differences, []);
  t.is(same.revision, racks.revisionOf("r"));
});

const faults: readonly (readonly [title: string, code: string, reason: RegExp, text: string])[] = [
  [
    "a subnet nobody configured",
    "subnet-unknown",
    /10.99.0.0\/24 is not in/,
    "subnet: 10.99.0.0/24\nstacks: [{ name: a, slots: 1 }]",
  ],
  [
    "an address of no subnet",
    "address-outside",
    /r\/a\/1: address 10.99.0.1 is on no/,
    "addresses: { first: 10.99.0.1 }\nstacks: [{ name: a, slots: 1 }]",
  ],
  [
    "an address of the pool",
    "address-in-pool",
    /10.77.0.100 - 10.77.0.199/,
    "addresses: { first: 10.77.0.99 }\nstacks: [{ name: a, slots: 2 }]",
  ],
  [
    "the router's",
    "address-taken",
    /10.77.0.254 is the router's/,
    "addresses: { first: 10.77.0.254 }\nstacks: [{ name: a, slots: 1 }]",
  ],
  [
    "our own",
    "address-taken",
    /10.77.0.1 is this server's own/,
    "addresses: { first: 10.77.0.1 }\nstacks: [{ name: a, slots: 1 }]",
  ],
  [
    "one reserved for another slot",
    "address-taken",
    /reserved for 52:54:00:00:00:01 \(slot r\/z\/1\)/,
    "addresses: { first: 10.77.0.12 }\nstacks: [{ name: a, slots: 1 }]",
  ],
  [
    "more slots than addresses",
    "too-few-addresses",
    /^4 slots want an address of 10.77.0.0\/24, and its reserved range has 3 free$/,
    "stacks: [{ name: a, slots: 4 }]",
  ],
  [
    "slots without outlets",
    "outlet-missing",
    /r\/a\/1, .* and 1 more: no outlet/,
    "stacks: [{ name: a, slots: 5 }]",
  ],
  [
    "a node that would have no slot",
    "node-without-slot",
    /node lab-c-1 is in slot r\/z\/1/,
    "stacks: [{ name: a, slots: 1 }]",
  ],
];
for (const [title, code, reason, text] of faults) {
  test(`a check finds ${title}`, async (t) => {
    const { racks, store } = bench();
    const mac = parseMacAddress("52:54:00:00:00:01");
    const slot = { rack: "r", stack: "z", slot: "1" };
    const address = parseIpv4Address("10.77.0.12");
    store.reservations.put({ mac, address, slot, createdAt: instant(0) });
    store.nodes.put({ ...makeNode("c", "1"), slot });
    const { findings } = await racks.check(`name: r\n${text}`, false);
    const found = findings.filter((one) => one.code === code);
    t.regex(found[0]?.text ?? "", reason);
    t.truthy(found[0]?.remedy);
    t.is(store.racks.list().length, 0);
  });
}

test("a check asks every outlet when told to, and says which do not answer", async (t) => {
  const { racks, probed } = bench();
  const text = `name: r
stacks:
  - { name: a, slots: [{ name: 1, outlet: ${bmc("h")} }, { name: 2, outlet: ${bmc("silent")} }] }
  - { name: b, slots: 2, outlet: { driver: manual } }
`;
  t.deepEqual(
    (await racks.check(text, false)).findings.filter(({ code }) => /outlet/.test(code)),
    [],
  );
  t.is(probed.length, 0);
  const { findings } = await racks.check(text, true);
  t.deepEqual(
    findings.map(({ code, text: said }) => [code, said]),
    [
      ["outlet-answers", "outlet of slot r/a/1 (ipmi) is off"],
      ["power-unreachable", "outlet of slot r/a/2 (ipmi): BMC silent: no answer"],
      ["outlet-cannot-tell", "outlet of stack r/b (manual) cannot be asked"],
    ],
  );
  t.is(probed.length, 3);
});

test("an outlet is tried with its kept secret before it is in a rack", async (t) => {
  const { racks, probed } = bench();
  racks.put("r", file(bmc("h")));
  const settings = { host: "h", user: "ada", password: { kept: true } };
  t.is(await racks.probe({ driver: "ipmi", settings }), "off");
  t.is(probed[0]?.settings["password"], canary);
  await t.throwsAsync(racks.probe({ driver: "ipmi", settings: { host: "h" } }), {
    message: /user is missing/,
  });
  await t.throwsAsync(racks.probe({ driver: "magic", settings: {} }), {
    message: /no power driver/,
  });
});
