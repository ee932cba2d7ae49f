/** Whether a rule is meant for a node. Pure. */

import { type Node, slotText } from "#protocol/node.ts";
import type { RuleMatch } from "#protocol/rule.ts";

/** Everything that speaks against it, in words; empty: it matches. What is not known does not match. */
export function whyNot(match: RuleMatch, node: Node): readonly string[] {
  const { hardware } = node;
  const { architecture, model, places, tags, serials, minMemoryMiB, minDiskGB } = match;
  const serial = node.serial ?? hardware?.serial;
  const largest = Math.max(
    0,
    ...(hardware?.disks ?? []).filter((disk) => !disk.removable).map((disk) => disk.sizeBytes),
  );
  return [
    ...unless(
      architecture === undefined || node.architecture === architecture,
      `it is ${node.architecture ?? "of unknown architecture"}, not ${architecture}`,
    ),
    ...unless(
      model === undefined || (hardware !== undefined && patternOf(model).test(hardware.model)),
      `its model is ${hardware?.model ?? "not known"}, not ${model}`,
    ),
    ...unless(
      places === undefined || places.some((place) => isAt(node, place)),
      `it is in ${placeOf(node) ?? "no slot"}, not in ${places?.join(" or ")}`,
    ),
    ...(tags ?? []).filter((tag) => !node.tags?.includes(tag)).map((tag) => `it has no tag ${tag}`),
    ...unless(
      serials === undefined || (serial !== undefined && serials.includes(serial)),
      `its serial number ${serial ?? "is not known and"} is not in the list`,
    ),
    ...unless(
      minMemoryMiB === undefined || (hardware?.memoryMiB ?? 0) >= minMemoryMiB,
      `it has ${hardware?.memoryMiB ?? "unknown"} MiB of memory, less than ${minMemoryMiB}`,
    ),
    ...unless(
      minDiskGB === undefined || largest >= minDiskGB * 1e9,
      `its largest fixed disk has ${(largest / 1e9).toFixed(1)} GB, less than ${minDiskGB}`,
    ),
  ];
}

function unless(holds: boolean, reason: string): readonly string[] {
  return holds ? [] : [reason];
}

/** `*` for anything; the rest as it stands, whatever its case. */
function patternOf(text: string): RegExp {
  const parts = text.split("*").map((part) => part.replaceAll(/[^\w\s]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`, "i");
}

function placeOf({ slot }: Node): string | undefined {
  return slot && slotText(slot);
}

/** @param place - one to three names, `*` for any */
function isAt({ slot }: Node, place: string): boolean {
  if (!slot) return false;
  const names = [slot.rack, slot.stack, slot.slot];
  return place.split("/").every((wanted, depth) => wanted === "*" || wanted === names[depth]);
}
