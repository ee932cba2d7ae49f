import test from "ava";
import type { NodeId } from "#protocol/brand.ts";
import type { Disk, InstalledDisk, Node } from "#protocol/node.ts";
import { guardOf } from "../../server/node/disk-guard.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { makeNode } from "../http/support.ts";

const disk: Disk = {
  name: "sda",
  serial: "S1",
  sizeBytes: 1e9,
  removable: false,
  contents: { kind: "known", text: "GPT", id: "gpt:1" },
};

function nodeWith(slot: string, disks: readonly Disk[], installedDisk?: InstalledDisk): Node {
  const node = makeNode("a", slot);
  if (!node.hardware) throw new Error("it has hardware");
  return {
    ...node,
    id: `node_${slot}` as NodeId,
    hardware: { ...node.hardware, disks },
    ...(installedDisk && { installedDisk }),
  };
}

const own: InstalledDisk = { name: "sda", serial: "S1", contentsId: "gpt:1" };
const unnamed: InstalledDisk = { name: "sda", contentsId: "gpt:2" };

const rows: readonly (readonly [
  title: string,
  node: Node,
  others: readonly Node[],
  onlyOver: readonly InstalledDisk[],
])[] = [
  ["the node's own install counts", nodeWith("1", [disk], own), [], [own]],
  [
    "a disk that was installed in another node counts, by its serial number",
    nodeWith("1", [disk]),
    [nodeWith("2", [], own)],
    [own],
  ],
  [
    "a disk without a serial number counts on its own node only",
    nodeWith("1", [disk]),
    [nodeWith("2", [], unnamed)],
    [],
  ],
  [
    "other disks of other nodes do not",
    nodeWith("1", [disk]),
    [nodeWith("2", [], { ...own, serial: "S2" })],
    [],
  ],
  [
    "nothing is looked up for blank disks",
    nodeWith("1", [{ ...disk, contents: { kind: "blank", text: "nothing" } }], own),
    [],
    [],
  ],
];
for (const [title, node, others, onlyOver] of rows) {
  test(title, (t) => {
    const store = openSqliteStore(":memory:");
    for (const one of [node, ...others]) store.nodes.put(one);
    store.protectedDisks.put({ serial: "P1", reason: "", by: "ada", at: node.createdAt });
    t.deepEqual(guardOf(store, node, "known"), { protectedSerials: ["P1"], onlyOver });
    t.deepEqual(guardOf(store, node, "any"), { protectedSerials: ["P1"] });
    store.close();
  });
}
