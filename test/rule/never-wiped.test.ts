/** P11: whatever the rules, the disks and the protections, nobody's data is written unasked. */

import { fc, testProp } from "@fast-check/ava";
import { type DiskGuard, targetDisk, whyGuarded } from "#protocol/disk.ts";
import type { Disk, InstalledDisk, Node } from "#protocol/node.ts";
import type { Rule } from "#protocol/rule.ts";
import { decide } from "../../server/rule/decide.ts";
import { image, makeNode } from "../http/support.ts";

const serial = fc.constantFrom("S1", "S2", undefined);
const contentsId = fc.constantFrom("gpt:1", "gpt:2", "mbr:1", undefined);
const name = fc.constantFrom("sda", "sdb", "vda");

const disk: fc.Arbitrary<Disk> = fc
  .record({
    name,
    serial,
    removable: fc.boolean(),
    kind: fc.constantFrom("blank", "known", "unknown", undefined),
    id: contentsId,
  })
  .map(({ kind, id, serial: number, ...rest }) => ({
    ...rest,
    sizeBytes: 1e9,
    ...(number !== undefined && { serial: number }),
    ...(kind !== undefined && {
      contents: { kind, text: kind, ...(kind === "known" && id !== undefined && { id }) },
    }),
  }));

const installed: fc.Arbitrary<InstalledDisk> = fc
  .record({ name, serial, contentsId })
  .map(({ serial: number, contentsId: id, ...rest }) => ({
    ...rest,
    ...(number !== undefined && { serial: number }),
    ...(id !== undefined && { contentsId: id }),
  }));

const rule: fc.Arbitrary<Rule> = fc
  .record({
    image: fc.constantFrom("debian-12", undefined),
    disk: fc.constantFrom("sda", "S1", "/dev/vda", undefined),
    wipe: fc.constantFrom("known" as const, "any" as const, undefined),
  })
  .map((members) => {
    const there = Object.entries(members).filter(([, value]) => value !== undefined);
    return { name: "a", match: {}, ...Object.fromEntries(there) };
  });

testProp(
  "a rule writes only a disk that is blank, its own, or given up; never a protected one",
  [
    fc.array(disk, { maxLength: 3 }),
    fc.array(rule, { minLength: 1, maxLength: 3 }),
    fc.array(installed, { maxLength: 3 }),
    fc.uniqueArray(fc.constantFrom<string>("S1", "S2")),
    fc.boolean(),
  ],
  (t, disks, rules, installs, protectedSerials, isProtected) => {
    const { hardware, ...rest } = makeNode("a", "1");
    const node: Node = {
      ...rest,
      ...(hardware && { hardware: { ...hardware, disks } }),
      ...(isProtected && { protection: { reason: "", by: "ada", at: rest.createdAt } }),
    };
    const guardOf = (_node: Node, wipe: "known" | "any"): DiskGuard => ({
      protectedSerials,
      ...(wipe === "known" && { onlyOver: installs }),
    });
    const decision = decide(node, {
      rules: rules.map((one) => ({ ...one, origin: "server" })),
      images: [image],
      guardOf,
    });
    if (decision.kind !== "install") return t.pass();
    const { wipe = "known" } = decision.rule;
    const target = targetDisk(disks, decision.rule.disk);
    if (typeof target === "string") return t.fail(target);
    t.is(target.name, decision.disk);
    t.false(isProtected);
    t.false(target.serial !== undefined && protectedSerials.includes(target.serial));
    const isOwn = installs.some(
      (one) =>
        one.contentsId !== undefined &&
        one.contentsId === target.contents?.id &&
        (one.serial === undefined ? one.name === target.name : one.serial === target.serial),
    );
    t.true(wipe === "any" || target.contents?.kind === "blank" || isOwn);
    t.is(whyGuarded(target, guardOf(node, wipe)), undefined, "the agent comes to the same");
    return undefined;
  },
  { numRuns: 5000 },
);
