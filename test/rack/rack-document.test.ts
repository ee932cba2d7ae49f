import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import { parse } from "yaml";
import type { Rack } from "#protocol/rack.ts";
import { yamlOf } from "../../server/rack/rack-document.ts";
import { parseRackFile } from "../../server/rack/rack-file.ts";

const read = (text: string) => parseRackFile(text, "rack.yaml", (_driver, settings) => settings);

test("what a plan gives is left out", (t) => {
  const written = `name: pi
subnet: 10.77.0.0/24
addresses: { first: 10.77.0.70 }
hostnames: node-{n:02}
stacks:
  - name: a
    slots: 4
  - name: b
    slots: [{ name: 1 }, { name: 2, hostname: db, address: 10.77.0.200 }]
`;
  t.deepEqual(parse(yamlOf(read(written))), {
    name: "pi",
    subnet: "10.77.0.0/24",
    addresses: { first: "10.77.0.70" },
    hostnames: "node-{n:02}",
    stacks: [
      { name: "a", slots: 4 },
      { name: "b", slots: [{ name: "1" }, { name: "2", hostname: "db", address: "10.77.0.200" }] },
    ],
  });
});

test("secrets are said to be kept", (t) => {
  const rack = read(
    `name: r\nstacks: [{ name: a, slots: 1, outlet: { driver: ipmi, settings: { host: h, user: u, password: canary } } }]`,
  );
  t.false(yamlOf(rack).includes("canary"));
  t.regex(yamlOf(rack), /password:\s+kept: true/);
});

const names = fc.uniqueArray(fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?$/), {
  minLength: 1,
  maxLength: 4,
});
const maybe = <T>(name: string, value: fc.Arbitrary<T>) =>
  fc.option(value, { nil: undefined }).map((one) => (one === undefined ? {} : { [name]: one }));
const slots = names.chain((list) =>
  fc.tuple(
    ...list.map((name) =>
      maybe("port", fc.constant(`p ${name}`)).map((port) => ({ name, ...port })),
    ),
  ),
);
const stacks = names.chain((list) =>
  fc.tuple(
    ...list.map((name, index) =>
      fc
        .tuple(
          fc.oneof(fc.integer({ min: 1, max: 5 }), slots),
          maybe("x", fc.nat(20)),
          maybe("y", fc.nat(20)),
          maybe("firstAddress", fc.constant(`10.${index + 1}.0.1`)),
        )
        .map(([own, x, y, first]) => ({ name, slots: own, ...x, ...y, ...first })),
    ),
  ),
);
const racks = fc.tuple(
  stacks,
  maybe("addresses", fc.constantFrom({ first: "10.0.0.1" }, { first: "10.0.0.1", perStack: 9 })),
  maybe("hostnames", fc.constantFrom("n{n:03}", "{stack}-{n}")),
  maybe("power", fc.constant({ onAtOnce: 2, offSeconds: 0.5 })),
);

testProp("an export parses to the same rack", [racks], (t, [list, ...members]) => {
  const source = Object.assign({ name: "r", stacks: withPortsOnce(list) }, ...members);
  const rack: Rack = read(JSON.stringify(source));
  t.deepEqual(read(yamlOf(rack)), rack);
});

/** Ports are unique in a rack. */
function withPortsOnce(list: readonly { readonly name: string; readonly slots: unknown }[]) {
  return list.map((stack) => ({
    ...stack,
    slots: Array.isArray(stack.slots)
      ? stack.slots.map((slot: { readonly port?: string }) => ({
          ...slot,
          ...(slot.port !== undefined && { port: `${stack.name} ${slot.port}` }),
        }))
      : stack.slots,
  }));
}
