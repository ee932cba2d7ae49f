/**
 * A merge patch (RFC 7396). The lists of a rack's document hold things with names,
 * so a patch may name them instead of repeating the list:
 *
 *   { "power": null,
 *     "stacks": { "a": { "outlet": { "driver": "manual" },
 *                        "slots": { "1": { "address": "10.77.0.20" }, "9": null } } } }
 *
 * What is not there yet is added at the end. Settings of another driver begin empty.
 */

type Json = unknown;
type Members = Readonly<Record<string, Json>>;

export function mergePatch(document: Json, patch: Json): Json {
  return merge(document, patch, "");
}

function merge(target: Json, patch: Json, member: string): Json {
  if (!isMembers(patch)) return patch;
  if ((member === "stacks" || member === "slots") && Array.isArray(target)) {
    return mergeNamed(target as readonly Members[], patch);
  }
  const before = isMembers(target) ? target : {};
  const isOtherDriver =
    member === "outlet" && (patch["driver"] ?? before["driver"]) !== before["driver"];
  const kept = Object.entries(before).filter(
    ([name]) => !Object.hasOwn(patch, name) && !(isOtherDriver && name === "settings"),
  );
  const changed = Object.entries(patch).flatMap(([name, value]) =>
    value === null
      ? []
      : [[name, merge(isOtherDriver ? undefined : before[name], value, name)] as const],
  );
  return Object.fromEntries([...kept, ...changed]);
}

function mergeNamed(list: readonly Members[], patch: Members): readonly Json[] {
  const names = new Set(list.map((one) => String(one["name"])));
  const kept = list.flatMap((one) => {
    const name = String(one["name"]);
    if (!Object.hasOwn(patch, name)) return [one];
    return patch[name] === null ? [] : [merge(one, patch[name], "")];
  });
  const added = Object.entries(patch)
    .filter(([name, value]) => !names.has(name) && value !== null)
    .map(([name, value]) => merge({ name }, value, ""));
  return [...kept, ...added];
}

function isMembers(value: Json): value is Members {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
