/** A rule in words, for the command line and the page. */

import type { Rule } from "./rule.ts";

/** Which nodes it is for. */
export function matchText({ match }: Rule): string {
  const { architecture, model, places, tags, serials, minMemoryMiB, minDiskGB } = match;
  const words = [
    architecture,
    model && `model ${model}`,
    places && `in ${places.join(" or ")}`,
    tags?.map((tag) => `tag ${tag}`).join(" and "),
    serials && `${serials.length} serial number${serials.length === 1 ? "" : "s"}`,
    minMemoryMiB !== undefined && `${minMemoryMiB} MiB or more`,
    minDiskGB !== undefined && `disk of ${minDiskGB} GB or more`,
  ].filter(Boolean);
  return words.length === 0 ? "every node" : words.join(", ");
}

/** What it does to them. */
export function doesText({ image, disk, burnInSeconds, wipe = "known" }: Rule): string {
  const words = [
    burnInSeconds !== undefined && `test for ${burnInSeconds} s`,
    image === undefined ? "leave alone" : `install ${image}`,
    image !== undefined && disk !== undefined && `on ${disk}`,
    image !== undefined && wipe === "any" && "whatever is on the disk",
  ];
  return words.filter(Boolean).join(", ");
}
