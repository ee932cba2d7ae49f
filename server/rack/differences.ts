/** What is not the same in two racks, place by place, for people. Secrets are compared and never shown. */

import type { Rack, RackDifference } from "#protocol/rack.ts";
import { driverNamed } from "../power/registry.ts";
import { secretNames } from "../power/secrets.ts";

interface Leaf {
  readonly value: string;
  readonly isSecret: boolean;
}

/** @param before - undefined where there was no such rack; both with their secrets opened */
export function differencesOf(before: Rack | undefined, after: Rack): readonly RackDifference[] {
  const old = before ? leavesOf(before) : new Map<string, Leaf>();
  const fresh = leavesOf(after);
  return [...new Set([...old.keys(), ...fresh.keys()])].flatMap((where) => {
    const [one, other] = [old.get(where), fresh.get(where)];
    if (one?.value === other?.value) return [];
    return [
      {
        where,
        ...(one && { before: one.isSecret ? "(secret)" : one.value }),
        ...(other && { after: other.isSecret ? secretText(one) : other.value }),
      },
    ];
  });
}

function secretText(before: Leaf | undefined): string {
  return before ? "(another secret)" : "(secret)";
}

function leavesOf(rack: Rack): ReadonlyMap<string, Leaf> {
  const leaves = new Map<string, Leaf>();
  const { name, stacks, ...rest } = rack;
  const note = (where: string, value: unknown, secrets: readonly string[] = []): void => {
    if (value === null || typeof value !== "object") {
      const member = where.slice(where.lastIndexOf(".") + 1);
      leaves.set(where, { value: String(value), isSecret: secrets.includes(member) });
      return;
    }
    for (const [member, inner] of Object.entries(value)) note(`${where}.${member}`, inner, secrets);
  };
  const noteAll = (place: string, members: object): void => {
    for (const [member, value] of Object.entries(members)) {
      const driver = driverNamed((value as { readonly driver?: string }).driver ?? "");
      note(`${place} ${member}`, value, driver ? secretNames(driver) : []);
    }
  };
  noteAll(name, rest);
  for (const { name: stackName, slots, ...members } of stacks) {
    noteAll(`${name}/${stackName}`, members);
    for (const { name: slotName, ...own } of slots) {
      noteAll(`${name}/${stackName}/${slotName}`, own);
    }
  }
  return leaves;
}
