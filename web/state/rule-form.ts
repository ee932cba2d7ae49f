/** The form of a rule: texts as they are typed, and the request that they make. */

import type { Architecture } from "#protocol/firmware.ts";
import type { Rule, RuleMatch } from "#protocol/rule.ts";

export interface RuleForm {
  readonly name: string;
  readonly architecture: "" | Architecture;
  readonly model: string;
  readonly places: string;
  readonly tags: string;
  readonly serials: string;
  readonly minMemoryMiB: string;
  readonly minDiskGB: string;
  /** Empty: a match means that the node is left alone. */
  readonly image: string;
  readonly disk: string;
  readonly authorizedKeys: string;
  readonly burnInSeconds: string;
  readonly wipesAny: boolean;
  /** The rule it comes before; empty: it is the last one. */
  readonly before: string;
}

export const emptyRule: RuleForm = {
  ...{ name: "", architecture: "", model: "", places: "", tags: "", serials: "" },
  ...{ minMemoryMiB: "", minDiskGB: "", image: "", disk: "", authorizedKeys: "" },
  ...{ burnInSeconds: "", wipesAny: false, before: "" },
};

/** Body of the request; the server says what is wrong with it. */
export function requestOf(form: RuleForm): { readonly rule: Rule; readonly before?: string } {
  const match: RuleMatch = given({
    architecture: form.architecture || undefined,
    model: textOf(form.model),
    places: wordsOf(form.places, /[\s,]+/),
    tags: wordsOf(form.tags, /[\s,]+/),
    serials: wordsOf(form.serials, /\n/),
    minMemoryMiB: numberOf(form.minMemoryMiB),
    minDiskGB: numberOf(form.minDiskGB),
  });
  const installs = form.image !== "";
  const rule: Rule = given({
    ...{ name: form.name.trim(), match },
    image: textOf(form.image),
    disk: installs ? textOf(form.disk) : undefined,
    authorizedKeys: installs ? wordsOf(form.authorizedKeys, /\n/) : undefined,
    burnInSeconds: numberOf(form.burnInSeconds),
    wipe: installs && form.wipesAny ? ("any" as const) : undefined,
  });
  return form.before === "" ? { rule } : { rule, before: form.before };
}

function textOf(text: string): string | undefined {
  return text.trim() === "" ? undefined : text.trim();
}

function wordsOf(text: string, by: RegExp): readonly string[] | undefined {
  const words = text.split(by).flatMap((word) => textOf(word) ?? []);
  return words.length === 0 ? undefined : words;
}

function numberOf(text: string): number | undefined {
  return text.trim() === "" ? undefined : Number(text);
}

/** Without the members that are not there. */
function given<Members extends object>(
  members: Members,
): { [Name in keyof Members]: Exclude<Members[Name], undefined> } {
  const kept = Object.entries(members).filter(([, value]) => value !== undefined);
  return Object.fromEntries(kept) as {
    [Name in keyof Members]: Exclude<Members[Name], undefined>;
  };
}
