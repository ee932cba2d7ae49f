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
