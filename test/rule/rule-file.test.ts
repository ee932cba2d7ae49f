import test from "ava";
import { RackFileError } from "../../server/errors.ts";
import { yamlOf } from "../../server/rack/rack-document.ts";
import { parseRackFile } from "../../server/rack/rack-file.ts";

const head = "name: lab\nstacks: [{ name: a, slots: 1 }]\n";

test("a rack file's rules come with it, and go out with it again", (t) => {
  const rack = parseRackFile(
    `${head}rules:
  - name: big
    match: { architecture: amd64, places: [lab/a], minMemoryMiB: 4096 }
    image: debian-12
    disk: nvme0n1
    authorizedKeys: [ssh-ed25519 AAAA admin]
    burnInSeconds: 600
    wipe: any
  - { name: rest }
`,
    "rack.yaml",
  );
  t.deepEqual(rack.rules, [
    {
      name: "big",
      match: { architecture: "amd64", places: ["lab/a"], minMemoryMiB: 4096 },
      image: "debian-12",
      disk: "nvme0n1",
      authorizedKeys: ["ssh-ed25519 AAAA admin"],
      burnInSeconds: 600,
      wipe: "any",
    },
    { name: "rest", match: {} },
  ]);
  t.deepEqual(parseRackFile(yamlOf(rack), "again.yaml"), rack);
});

const wrong: readonly (readonly [title: string, rules: string, line: number, reason: RegExp])[] = [
  ["a rule without a name", "rules:\n  - { image: debian-12 }", 4, /rule.* required/],
  [
    "an architecture nobody has",
    "rules:\n  - name: a\n    match:\n      architecture: riscv64",
    6,
    /rule\/match\/architecture/,
  ],
  [
    "a misspelt member",
    "rules:\n  - name: a\n    imge: debian-12",
    5,
    /rule\/imge is no member of a rule/,
  ],
  ["a place with four names", "rules:\n  - name: a\n    match: { places: [a/b/c/d] }", 5, /places/],
  [
    "two rules of one name",
    "rules:\n  - { name: a }\n  - { name: a }",
    5,
    /rule name a was used on line 4/,
  ],
  ["no list", "rules: { name: a }", 3, /list of rules/],
];
for (const [title, rules, line, reason] of wrong) {
  test(`refused, with its line: ${title}`, (t) => {
    const error = t.throws(() => parseRackFile(head + rules, "rack.yaml"), {
      instanceOf: RackFileError,
    });
    t.true(error?.message.startsWith(`rack.yaml, line ${line}: `), error?.message);
    t.regex(error?.message ?? "", reason);
  });
}
