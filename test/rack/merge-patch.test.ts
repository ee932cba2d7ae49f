import test from "ava";
import { mergePatch } from "../../server/rack/merge-patch.ts";
import type { RackDocument } from "../../server/rack/rack-document.ts";

const document: RackDocument = {
  name: "r",
  power: { onAtOnce: 2 },
  stacks: [
    { name: "a", slots: [{ name: "1" }, { name: "2", address: "10.0.0.2" }] },
    {
      name: "b",
      outlet: { driver: "ipmi", settings: { host: "h", user: "u" } },
      slots: [{ name: "1" }],
    },
  ],
};

const { name, power, stacks } = document;
const [a, b] = stacks;

const table: readonly (readonly [title: string, patch: unknown, patched: unknown])[] = [
  ["nothing", {}, document],
  [
    "a member",
    { power: { offSeconds: 3 } },
    { ...document, power: { onAtOnce: 2, offSeconds: 3 } },
  ],
  ["null takes out", { power: null }, { name, stacks }],
  [
    "a slot by its name",
    { stacks: { a: { slots: { 2: { address: "10.0.0.9" } } } } },
    {
      name,
      power,
      stacks: [{ name: "a", slots: [{ name: "1" }, { name: "2", address: "10.0.0.9" }] }, b],
    },
  ],
  [
    "a slot less and one more",
    { stacks: { a: { slots: { 1: null, 3: { port: "p3" } } } } },
    {
      name,
      power,
      stacks: [
        {
          name: "a",
          slots: [
            { name: "2", address: "10.0.0.2" },
            { name: "3", port: "p3" },
          ],
        },
        b,
      ],
    },
  ],
  [
    "a stack less and one more",
    { stacks: { b: null, c: { slots: 4 } } },
    { name, power, stacks: [a, { name: "c", slots: 4 }] },
  ],
  [
    "a whole list",
    { stacks: [{ name: "z", slots: 1 }] },
    { name, power, stacks: [{ name: "z", slots: 1 }] },
  ],
  [
    "a setting of an outlet",
    { stacks: { b: { outlet: { settings: { user: "v" } } } } },
    {
      name,
      power,
      stacks: [
        a,
        {
          name: "b",
          slots: [{ name: "1" }],
          outlet: { driver: "ipmi", settings: { host: "h", user: "v" } },
        },
      ],
    },
  ],
  [
    "another driver begins without settings",
    { stacks: { b: { outlet: { driver: "manual", settings: { note: "n" } } } } },
    {
      name,
      power,
      stacks: [
        a,
        {
          name: "b",
          slots: [{ name: "1" }],
          outlet: { driver: "manual", settings: { note: "n" } },
        },
      ],
    },
  ],
];
for (const [title, patch, patched] of table) {
  test(`merge patch: ${title}`, (t) => t.deepEqual(mergePatch(document, patch), patched));
}

test("a stack that is named like a member of every object is left alone", (t) => {
  const odd: RackDocument = {
    name: "r",
    stacks: [{ name: "constructor", slots: [{ name: "1" }] }],
  };
  t.deepEqual(mergePatch(odd, { stacks: { a: { slots: 1 } } }), {
    name: "r",
    stacks: [...odd.stacks, { name: "a", slots: 1 }],
  });
});
