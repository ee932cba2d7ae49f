import test from "ava";
import { parseImageDigest } from "#protocol/brand.ts";
import type { DiskGuard } from "#protocol/disk.ts";
import type { Image } from "#protocol/image.ts";
import type { Disk, Node } from "#protocol/node.ts";
import type { Rule, RuleMatch } from "#protocol/rule.ts";
import { decide, textOf } from "../../server/rule/decide.ts";
import { whyNot } from "../../server/rule/match.ts";
import { image, makeNode } from "../http/support.ts";

const blank: Disk = {
  name: "vda",
  sizeBytes: 64e9,
  removable: false,
  contents: { kind: "blank", text: "nothing" },
};
const windows: Disk = {
  ...blank,
  contents: { kind: "known", text: "GPT with 2 partitions: FAT, NTFS", id: "gpt:1" },
};
const stick: Disk = { ...blank, name: "sda", sizeBytes: 256e9, removable: true };

function nodeWith(change: Partial<Node>, disks: readonly Disk[] = [blank]): Node {
  const node = makeNode("a", "1");
  const hardware = { model: "Raspberry Pi 4 Model B", cpus: 4, memoryMiB: 3900, interfaces: [] };
  return { ...node, serial: "S1", hardware: { ...hardware, disks }, ...change };
}

function without(member: "slot" | "hardware"): Node {
  const { [member]: _, ...node } = nodeWith({});
  return node;
}

const rows: readonly (readonly [
  title: string,
  match: RuleMatch,
  /** What is different about the node, or what is not known of it. */
  change: Partial<Node> | "slot" | "hardware",
  why: readonly string[],
])[] = [
  ["an empty match fits every node", {}, {}, []],
  ["the architecture fits", { architecture: "amd64" }, {}, []],
  ["another architecture does not", { architecture: "arm64" }, {}, ["it is amd64, not arm64"]],
  ["a model fits as a pattern, in any case", { model: "raspberry pi 4*" }, {}, []],
  [
    "another model does not, and signs are no patterns",
    { model: "raspberry pi ." },
    {},
    ["its model is Raspberry Pi 4 Model B, not raspberry pi ."],
  ],
  ["a rack, a stack, a slot, any slot", { places: ["lab"] }, {}, []],
  ["a stack fits", { places: ["lab/b", "lab/a"] }, {}, []],
  ["any name of a stack fits", { places: ["lab/*/1"] }, {}, []],
  ["a different slot does not", { places: ["lab/a/2"] }, {}, ["it is in lab/a/1, not in lab/a/2"]],
  ["a node in no slot is at no place", { places: ["*"] }, "slot", ["it is in no slot, not in *"]],
  ["all tags are needed", { tags: ["db", "ssd"] }, { tags: ["ssd"] }, ["it has no tag db"]],
  ["a serial number of the list fits", { serials: ["S0", "S1"] }, {}, []],
  ["another one does not", { serials: ["S0"] }, {}, ["its serial number S1 is not in the list"]],
  ["enough memory fits", { minMemoryMiB: 3900 }, {}, []],
  ["less does not", { minMemoryMiB: 4096 }, {}, ["it has 3900 MiB of memory, less than 4096"]],
  ["the largest fixed disk counts", { minDiskGB: 64 }, {}, []],
  [
    "a stick does not count, and everything that is wrong is told",
    { minDiskGB: 100, minMemoryMiB: 8000 },
    { hardware: { ...(nodeWith({}).hardware ?? fail()), disks: [blank, stick] } },
    [
      "it has 3900 MiB of memory, less than 8000",
      "its largest fixed disk has 64.0 GB, less than 100",
    ],
  ],
  [
    "what is not known does not fit",
    { model: "*", minMemoryMiB: 1 },
    "hardware",
    ["its model is not known, not *", "it has unknown MiB of memory, less than 1"],
  ],
];
for (const [title, match, change, why] of rows) {
  test(title, (t) => {
    t.deepEqual(
      whyNot(match, typeof change === "string" ? without(change) : nodeWith(change)),
      why,
    );
  });
}

const arm: Image = { ...image, architecture: "arm64", digest: parseImageDigest("12".repeat(32)) };
const older: Image = {
  ...image,
  digest: parseImageDigest("34".repeat(32)),
  createdAt: (image.createdAt - 1) as Image["createdAt"],
};
const nothingProtected: DiskGuard = { protectedSerials: [] };

function decided(rules: readonly Rule[], node: Node, guard: Partial<DiskGuard> = {}) {
  return decide(node, {
    rules: rules.map((rule) => ({ ...rule, origin: "server" })),
    images: [older, arm, image],
    guardOf: (_node, wipe) => ({
      ...nothingProtected,
      ...(wipe === "known" && { onlyOver: [] }),
      ...guard,
    }),
  });
}

const rule: Rule = { name: "usual", match: {}, image: image.name };

test("the first rule that matches counts, and of a name the newest image for the architecture", (t) => {
  const notThis: Rule = { name: "arm", match: { architecture: "arm64" }, image: image.name };
  const decision = decided(
    [notThis, rule, { ...rule, name: "later", image: "other" }],
    nodeWith({}),
  );
  t.like(decision, {
    kind: "install",
    rule: { name: "usual" },
    image: { digest: image.digest },
    disk: "vda",
  });
  t.is(textOf(decision), "rule usual installs debian-12 on vda");
});

const texts: readonly (readonly [
  title: string,
  rules: readonly Rule[],
  node: Node,
  text: string,
  guard?: Partial<DiskGuard>,
])[] = [
  ["without a rule a node is left alone", [], nodeWith({}), "no rule matches: it is left alone"],
  [
    "a rule without an image leaves it alone, whatever comes after",
    [{ name: "spare", match: {} }, rule],
    nodeWith({}),
    "rule spare matches and names no image: it is left alone",
  ],
  [
    "a disk that holds somebody's data is not written",
    [rule],
    nodeWith({}, [windows]),
    "rule usual matches, but nothing is installed: disk vda holds GPT with 2 partitions: FAT, NTFS, which was not installed from here",
  ],
  [
    "unless the rule says so",
    [{ ...rule, wipe: "any" }],
    nodeWith({}, [windows]),
    "rule usual installs debian-12 on vda",
  ],
  [
    "a disk whose contents nobody has seen is not written",
    [rule],
    nodeWith({}, [{ name: "vda", sizeBytes: 1, removable: false }]),
    "rule usual matches, but nothing is installed: what is on disk vda is not known",
  ],
  [
    "a disk that still holds what was installed from here is",
    [rule],
    nodeWith({}, [{ ...windows, serial: "D1" }]),
    "rule usual installs debian-12 on vda",
    { onlyOver: [{ name: "sdx", serial: "D1", contentsId: "gpt:1" }] },
  ],
  [
    "the same disk with another table on it is not",
    [rule],
    nodeWith({}, [{ ...windows, serial: "D1" }]),
    "rule usual matches, but nothing is installed: disk vda (D1) holds GPT with 2 partitions: FAT, NTFS, which was not installed from here",
    { onlyOver: [{ name: "vda", serial: "D1", contentsId: "gpt:2" }] },
  ],
  [
    "a protected disk is not written, even if any may be wiped",
    [{ ...rule, wipe: "any" }],
    nodeWith({}, [{ ...blank, serial: "D1" }]),
    "rule usual matches, but nothing is installed: disk vda (D1) is protected",
    { protectedSerials: ["D1"] },
  ],
  [
    "of two fixed disks the rule must name one",
    [rule],
    nodeWith({}, [blank, { ...blank, name: "vdb" }]),
    "rule usual matches, but nothing is installed: more than one fixed disk, name one: vda (64000000000 bytes), vdb (64000000000 bytes)",
  ],
  [
    "a named disk is taken",
    [{ ...rule, disk: "vdb" }],
    nodeWith({}, [blank, { ...blank, name: "vdb" }]),
    "rule usual installs debian-12 on vdb",
  ],
  [
    "an installed node is not installed again",
    [rule],
    nodeWith({ image: image.digest }),
    "rule usual matches, but nothing is installed: an image was installed on it before",
  ],
  [
    "a protected node is not installed",
    [rule],
    nodeWith({ protection: { reason: "archive", by: "ada", at: image.createdAt } }),
    "rule usual matches, but nothing is installed: it is protected by ada",
  ],
  [
    "an image that is not there is named",
    [{ ...rule, image: "other" }],
    nodeWith({}),
    "rule usual matches, but nothing is installed: there is no image other",
  ],
  [
    "an image for another machine is not taken",
    [{ ...rule, image: older.digest }],
    nodeWith({ architecture: "arm64" }),
    `rule usual matches, but nothing is installed: no image ${older.digest} is for arm64`,
  ],
];
for (const [title, rules, node, text, guard] of texts) {
  test(title, (t) => {
    t.is(textOf(decided(rules, node, guard)), text);
  });
}

function fail(): never {
  throw new Error("no such thing in this test");
}
