import test from "ava";
import { RackFileError } from "../../server/errors.ts";
import { parseRackFile } from "../../server/rack/rack-file.ts";

test("names, places and host names have defaults", (t) => {
  const rack = parseRackFile(
    `name: lab
stacks:
  - name: a
    slots: 2
    outlet: { driver: manual }
  - name: b
    y: 3
    slots:
      - name: 1
        hostname: db-1
        address: 10.77.0.20
        outlet: { driver: qemu, settings: { socket: /run/rack.sock, outlet: b1 } }
      - name: "07"
`,
    "rack.yaml",
  );
  t.deepEqual(rack, {
    name: "lab",
    stacks: [
      {
        name: "a",
        x: 0,
        y: 0,
        outlet: { driver: "manual", settings: {} },
        slots: [
          { name: "1", hostname: "lab-a-1" },
          { name: "2", hostname: "lab-a-2" },
        ],
      },
      {
        name: "b",
        x: 1,
        y: 3,
        slots: [
          {
            name: "1",
            hostname: "db-1",
            address: "10.77.0.20",
            outlet: { driver: "qemu", settings: { socket: "/run/rack.sock", outlet: "b1" } },
          },
          { name: "07", hostname: "lab-b-07" },
        ],
      },
    ],
  });
});

test("what was parsed can be written as JSON and parsed again", (t) => {
  const rack = parseRackFile("name: r\nstacks: [{ name: a, slots: 3 }]", "rack.yaml");
  t.deepEqual(parseRackFile(JSON.stringify(rack), "rack.json"), rack);
});

const qemu = (outlet: string) =>
  `{ driver: qemu, settings: { socket: /run/r.sock, outlet: ${outlet} } }`;
const stackOf = (...slots: string[]) =>
  `name: r\nstacks:\n  - name: a\n    slots:\n${slots.map((slot) => `      - ${slot}\n`).join("")}`;

const refused: readonly (readonly [title: string, text: string, line: number, reason: RegExp])[] = [
  ["an empty file", "", 1, /the rack is not written as/],
  ["a list at the top", "- a\n- b\n", 1, /the rack is not written as/],
  ["bad YAML", "name: r\nstacks: [\n", 3, /flow sequence/i],
  ["no name", "stacks: [{ name: a, slots: 1 }]", 1, /the rack has no name/],
  ["a name with a space", "name: my rack\nstacks: []\n", 1, /name "my rack"/],
  ["an upper-case name", "\nname: Lab\nstacks: []\n", 2, /name "Lab"/],
  ["no stacks", "name: r\n", 1, /needs a list of stacks/],
  ["an empty list of stacks", "name: r\nstacks: []\n", 2, /needs a list of stacks/],
  ["a misspelt member", "name: r\nstacks:\n  - name: a\n    slosts: 2\n", 4, /no member "slosts"/],
  [
    "a stack twice",
    "name: r\nstacks:\n  - { name: a, slots: 1 }\n  - { name: a, slots: 1 }\n",
    4,
    /line 3/,
  ],
  ["no slots", "name: r\nstacks:\n  - name: a\n    slots: []\n", 4, /needs a list of slots/],
  ["zero slots", "name: r\nstacks:\n  - name: a\n    slots: 0\n", 4, /0 is not 1-512/],
  ["half a slot", "name: r\nstacks:\n  - name: a\n    slots: 1.5\n", 4, /1.5 is not 1-512/],
  ["a slot twice", stackOf("name: a", "name: a"), 6, /slot name a was used on line 5/],
  [
    "a host name twice",
    stackOf("{ name: a, hostname: x }", "{ name: b, hostname: x }"),
    6,
    /x was used on line 5/,
  ],
  [
    "a host name that another gets by default",
    stackOf("{ name: a }", "{ name: b, hostname: r-a-a }"),
    6,
    /r-a-a/,
  ],
  ["a host name with a dot", stackOf("{ name: a, hostname: x.y }"), 5, /not a host name/],
  [
    "an address out of range",
    stackOf("{ name: a, address: 10.0.0.256 }"),
    5,
    /not an IPv4 address: 10.0.0.256/,
  ],
  [
    "an address twice",
    stackOf("{ name: a, address: 10.0.0.5 }", "{ name: b, address: 10.0.0.5 }"),
    6,
    /line 5/,
  ],
  [
    "an unknown driver",
    stackOf("{ name: a, outlet: { driver: magic } }"),
    5,
    /"magic"; there are: gpio-relay, .*qemu/,
  ],
  ["an outlet without driver", stackOf("{ name: a, outlet: {} }"), 5, /no power driver ""/],
  [
    "settings the driver refuses",
    stackOf("{ name: a, outlet: { driver: qemu, settings: { socket: r } } }"),
    5,
    /outlet is missing/,
  ],
  [
    "an outlet twice",
    stackOf(`{ name: a, outlet: ${qemu("o1")} }`, `{ name: b, outlet: ${qemu("o1")} }`),
    6,
    /line 5/,
  ],
  [
    "an outlet for the stack and one for a slot",
    `name: r\nstacks:\n  - name: a\n    outlet: ${qemu("o1")}\n    slots: [{ name: a, outlet: ${qemu("o2")} }]\n`,
    3,
    /both have an outlet/,
  ],
  [
    "a negative place",
    "name: r\nstacks:\n  - name: a\n    x: -1\n    slots: 1\n",
    4,
    /-1 is not 0-1000/,
  ],
  ["a second document's worth of text", `name: r\nstacks: ${"x".repeat(1024 * 1024)}`, 1, /octets/],
];

for (const [title, text, line, reason] of refused) {
  test(`refused, with its line: ${title}`, (t) => {
    const error = t.throws(() => parseRackFile(text, "rack.yaml"), { instanceOf: RackFileError });
    t.true(error?.message.startsWith(`rack.yaml, line ${line}: `), error?.message);
    t.regex(error?.message ?? "", reason);
  });
}

test("outlets that are switched by hand may be alike", (t) => {
  const text = stackOf(
    "{ name: a, outlet: { driver: manual } }",
    "{ name: b, outlet: { driver: manual } }",
  );
  t.is(parseRackFile(text, "rack.yaml").stacks[0]?.slots.length, 2);
});

// PiRack (2016): 12 stacks of 4 boards in two rows, one relay channel for each stack.
test("a rack of equal stacks is written once", (t) => {
  const lines = [18, 25, 12, 21, 4, 17, 27, 22, 5, 6, 13, 19];
  const rack = parseRackFile(
    `name: pi
subnet: 10.77.0.0/24
addresses: { first: 10.77.0.70 }
hostnames: "node-{n:02}"
power: { onAtOnce: 4, onEverySeconds: 1.5, offSeconds: 3 }
stacks:
  count: 12
  columns: 6
  slots: 4
  outlet: { driver: gpio-relay, settings: { line: { each: [${lines}] }, activeLow: true } }
`,
    "rack.yaml",
  );
  t.deepEqual(
    rack.stacks.map(({ outlet }) => outlet?.settings["line"]),
    lines,
  );
  t.deepEqual(
    [0, 5, 6, 11].map((index) => [rack.stacks[index]?.x, rack.stacks[index]?.y]),
    [
      [0, 0],
      [5, 0],
      [0, 1],
      [5, 1],
    ],
  );
  t.deepEqual(rack.stacks[11]?.slots[3], {
    name: "4",
    hostname: "node-48",
    address: "10.77.0.117",
  });
  t.deepEqual(rack.power, { onAtOnce: 4, onEverySeconds: 1.5, offSeconds: 3 });
});

test("a rack with an outlet and a switch port for each slot is written once", (t) => {
  const rack = parseRackFile(
    `name: poe
addresses: { first: 10.77.1.0, perStack: 16 }
stacks:
  count: 2
  name: "s{n:02}"
  slots:
    count: 4
    port: "gi1/0/{n}"
    outlet: { driver: poe-snmp, settings: { host: 10.0.0.2, community: "{n}", portIndex: "{n+8}" } }
`,
    "rack.yaml",
  );
  t.deepEqual(
    rack.stacks.map(({ name }) => name),
    ["s01", "s02"],
  );
  t.deepEqual(rack.stacks[1]?.slots[2], {
    name: "3",
    hostname: "poe-s02-3",
    address: "10.77.1.18",
    port: "gi1/0/7",
    outlet: {
      driver: "poe-snmp",
      settings: { host: "10.0.0.2", community: "{n}", portIndex: 15 }, // a secret is taken as it is
    },
  });
});

test("a stack may have its own subnet and first address, a slot its own address", (t) => {
  const rack = parseRackFile(
    `name: r
subnet: 10.77.0.0/24
stacks:
  - { name: a, slots: 2, firstAddress: 10.77.0.20 }
  - name: b
    subnet: 10.88.0.0/24
    firstAddress: 10.88.0.20
    slots: [{ name: 1 }, { name: 2, address: 10.88.0.99 }, { name: 3 }]
`,
    "rack.yaml",
  );
  t.deepEqual(
    rack.stacks.flatMap(({ slots }) => slots.map(({ address }) => address)),
    ["10.77.0.20", "10.77.0.21", "10.88.0.20", "10.88.0.99", "10.88.0.22"],
  );
});

const plans: readonly (readonly [title: string, text: string, line: number, reason: RegExp])[] = [
  ["no network", "name: r\nsubnet: 10.0.0.1/24\nstacks: [{ name: a, slots: 1 }]", 2, /host bits/],
  [
    "a plan that leaves its subnet",
    "name: r\nsubnet: 10.0.0.0/24\naddresses: { first: 10.0.0.254 }\nstacks:\n  - { name: a, slots: 2 }",
    5,
    /10.0.0.255 is the network or broadcast address of 10.0.0.0\/24/,
  ],
  [
    "an address of another subnet",
    "name: r\nsubnet: 10.0.0.0/24\nstacks:\n  - { name: a, slots: [{ name: b, address: 10.0.1.1 }] }",
    4,
    /10.0.1.1 is outside of subnet 10.0.0.0\/24/,
  ],
  [
    "a plan that gives an address twice",
    "name: r\naddresses: { first: 10.0.0.1 }\nstacks:\n  - { name: a, slots: 2 }\n  - { name: b, firstAddress: 10.0.0.2, slots: 1 }",
    5,
    /10.0.0.2 was used on line 4/,
  ],
  [
    "a stack that is longer than its block of addresses",
    "name: r\naddresses: { first: 10.0.0.1, perStack: 2 }\nstacks:\n  - { name: a, slots: 3 }",
    4,
    /stack a has 3 slots, and addresses.perStack is 2/,
  ],
  ["no count", "name: r\nstacks: { slots: 4 }", 2, /count is missing/],
  ["names that are alike", "name: r\nstacks: { count: 2, name: a, slots: 1 }", 2, /stack name a/],
  [
    "fewer values than outlets",
    `name: r\nstacks:\n  count: 3\n  slots: 1\n  outlet: { driver: gpio-relay, settings: { line: { each: [4, 17] } } }`,
    5,
    /line: each has 2 values, and number 3 needs one/,
  ],
  [
    "a port twice",
    "name: r\nstacks:\n  - { name: a, slots: [{ name: b, port: p1 }, { name: c, port: p1 }] }",
    3,
    /port p1 was used/,
  ],
  [
    "a limit of nothing",
    "name: r\npower: { onEverySeconds: 2 }\nstacks: [{ name: a, slots: 1 }]",
    2,
    /without onAtOnce/,
  ],
  [
    "half a node at once",
    "name: r\npower: { onAtOnce: 0.5 }\nstacks: [{ name: a, slots: 1 }]",
    2,
    /onAtOnce: 0.5 is not 1-512/,
  ],
  [
    "a secret that only the server knows",
    "name: r\nstacks:\n  - { name: a, slots: 1, outlet: { driver: ipmi, settings: { host: h, user: u, password: { kept: true } } } }",
    3,
    /password is kept by the server/,
  ],
];
for (const [title, text, line, reason] of plans) {
  test(`refused, with its line: ${title}`, (t) => {
    const error = t.throws(() => parseRackFile(text, "rack.yaml"), { instanceOf: RackFileError });
    t.true(error?.message.startsWith(`rack.yaml, line ${line}: `), error?.message);
    t.regex(error?.message ?? "", reason);
  });
}

test("a number and a text are each taken where the other is meant", (t) => {
  const outlets = `
    - { driver: snmp-pdu, settings: { host: h, community: c, outlet: 5 } }
    - { driver: gpio-relay, settings: { line: "5" } }`;
  const text = stackOf(
    ...outlets
      .trim()
      .split("\n")
      .map((one, index) => `{ name: s${index}, outlet: ${one.trim().slice(2)} }`),
  );
  const [stack] = parseRackFile(text, "rack.yaml").stacks;
  t.is(stack?.slots[0]?.outlet?.settings["outlet"], "5");
  t.is(stack?.slots[1]?.outlet?.settings["line"], 5);
});
