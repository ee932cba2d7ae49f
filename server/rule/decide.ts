/** What the rules make of a node. Pure: everything they ask is passed in. */

import { type DiskGuard, targetDisk, whyGuarded } from "#protocol/disk.ts";
import type { Image } from "#protocol/image.ts";
import type { Node } from "#protocol/node.ts";
import type { RankedRule, RuleVerdict, Wipe } from "#protocol/rule.ts";
import { whyNot } from "./match.ts";

export type Decision =
  /** No rule is meant for it. */
  | { readonly kind: "none" }
  /** The rule names no image. */
  | { readonly kind: "leave"; readonly rule: RankedRule }
  | { readonly kind: "refused"; readonly rule: RankedRule; readonly reason: string }
  | {
      readonly kind: "install";
      readonly rule: RankedRule;
      readonly image: Image;
      /** Its kernel name, for people. */
      readonly disk: string;
    };

export interface DecisionContext {
  /** In the order they are asked. */
  readonly rules: readonly RankedRule[];
  readonly images: readonly Image[];
  readonly guardOf: (node: Node, wipe: Wipe) => DiskGuard;
}

export function verdictsOn(rules: readonly RankedRule[], node: Node): readonly RuleVerdict[] {
  return rules.map(({ name, origin, match }) => ({ name, origin, why: whyNot(match, node) }));
}

export function decide(node: Node, { rules, images, guardOf }: DecisionContext): Decision {
  const rule = rules.find(({ match }) => whyNot(match, node).length === 0);
  if (!rule) return { kind: "none" };
  if (rule.image === undefined) return { kind: "leave", rule };
  const refused = (reason: string): Decision => ({ kind: "refused", rule, reason });
  if (node.protection) return refused(`it is protected by ${node.protection.by}`);
  if (node.image !== undefined) return refused("an image was installed on it before");
  const image = imageFor(rule.image, node, images);
  if (typeof image === "string") return refused(image);
  const disk = targetDisk(node.hardware?.disks ?? [], rule.disk);
  if (typeof disk === "string") return refused(disk);
  const guarded = whyGuarded(disk, guardOf(node, rule.wipe ?? "known"));
  if (guarded !== undefined) return refused(guarded);
  return { kind: "install", rule, image, disk: disk.name };
}

/** Of a name the newest for the node's architecture; else why there is none. */
function imageFor(named: string, { architecture }: Node, images: readonly Image[]): Image | string {
  const found = images
    .filter(({ digest, name }) => digest === named || name === named)
    .toSorted((a, b) => b.createdAt - a.createdAt);
  if (found.length === 0) return `there is no image ${named}`;
  const fitting = found.find((image) => image.architecture === architecture);
  return fitting ?? `no image ${named} is for ${architecture ?? "its unknown architecture"}`;
}

/** What would come of it, for people. */
export function textOf(decision: Decision): string {
  switch (decision.kind) {
    case "none":
      return "no rule matches: it is left alone";
    case "leave":
      return `rule ${decision.rule.name} matches and names no image: it is left alone`;
    case "refused":
      return `rule ${decision.rule.name} matches, but nothing is installed: ${decision.reason}`;
    case "install":
      return `rule ${decision.rule.name} installs ${decision.image.name} on ${decision.disk}`;
  }
}
