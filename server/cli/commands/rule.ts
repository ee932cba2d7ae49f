/** `marcoboot rule …`: what nodes install by themselves. */

import { readFileSync } from "node:fs";
import type { RankedRule, Rule, RuleMatch, RuleTrial } from "#protocol/rule.ts";
import { doesText, matchText } from "#protocol/rule-text.ts";
import {
  type Command,
  confirm,
  exitCodes,
  type OptionSpec,
  required,
  textOf,
  UsageError,
  type Values,
  yesOption,
} from "../command.ts";
import type { Page } from "../shapes.ts";

const addOptions: Readonly<Record<string, OptionSpec>> = {
  arch: { type: "string", value: "ARCH", about: "only for amd64 or arm64" },
  model: { type: "string", value: "PATTERN", about: "only for this model; * for anything" },
  place: {
    type: "string",
    value: "PLACE",
    multiple: true,
    about: "only in lab, lab/a or lab/a/1; again for more",
  },
  tag: {
    type: "string",
    value: "TAG",
    multiple: true,
    about: "only with this tag; again: and this one",
  },
  serials: {
    type: "string",
    value: "FILE",
    about: "only boards of these serial numbers, one a line",
  },
  "min-memory": { type: "string", value: "MIB", about: "only with so much memory" },
  "min-disk": { type: "string", value: "GB", about: "only with so large a fixed disk" },
  image: {
    type: "string",
    value: "IMAGE",
    about: "name or digest; without one a match means: leave it alone",
  },
  disk: {
    type: "string",
    value: "DISK",
    about: "kernel name or serial; default: the only fixed disk",
  },
  "authorized-keys": { type: "string", value: "FILE", about: "public keys for root" },
  "burn-in": { type: "string", value: "SECONDS", about: "test the node so long first" },
  wipe: {
    type: "string",
    value: "WHAT",
    about: "known (default): blank disks and own installs only; any: whatever is on the disk",
  },
  before: { type: "string", value: "RULE", about: "ask it before that one; default: last" },
  yes: yesOption,
};

function ruleFrom(name: string, values: Values): Rule {
  const match: RuleMatch = {
    ...some("architecture", textOf(values, "arch") as RuleMatch["architecture"]),
    ...some("model", textOf(values, "model")),
    ...some("places", textsOf(values, "place")),
    ...some("tags", textsOf(values, "tag")),
    ...some("serials", linesOf(textOf(values, "serials"))),
    ...some("minMemoryMiB", numberOf(values, "min-memory")),
    ...some("minDiskGB", numberOf(values, "min-disk")),
  };
  return {
    name,
    match,
    ...some("image", textOf(values, "image")),
    ...some("disk", textOf(values, "disk")),
    ...some("authorizedKeys", linesOf(textOf(values, "authorized-keys"))),
    ...some("burnInSeconds", numberOf(values, "burn-in")),
    ...some("wipe", textOf(values, "wipe") as Rule["wipe"]), // the server checks every word
  };
}

function some<Name extends string, Value>(
  name: Name,
  value: Value | undefined,
): { readonly [Key in Name]?: Value } {
  return (value === undefined ? {} : { [name]: value }) as { readonly [Key in Name]?: Value };
}

function textsOf(values: Values, name: string): readonly string[] | undefined {
  const value = values[name];
  return Array.isArray(value) ? value.map(String) : undefined;
}

function numberOf(values: Values, name: string): number | undefined {
  const text = textOf(values, name);
  if (text === undefined) return undefined;
  if (!/^\d{1,9}(\.\d{1,3})?$/.test(text)) throw new UsageError(`--${name} ${text} is no number`);
  return Number(text);
}

/** Lines of a file without empty ones and comments. */
function linesOf(path: string | undefined): readonly string[] | undefined {
  if (path === undefined) return undefined;
  return readFileSync(path, "utf8")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

export const ruleCommands: readonly Command[] = [
  {
    noun: "rule",
    verb: "list",
    about: "what nodes install by themselves when they are trusted for the first time",
    positionals: [],
    options: {},
    examples: ["marcoboot rule list"],
    async run({ client, output }) {
      const { items } = (await client.get("/api/v1/rules")) as Page<RankedRule>;
      output.table(
        ["name", "from", "nodes", "does"],
        items.map((rule) => [rule.name, rule.origin, matchText(rule), doesText(rule)]),
        items,
      );
      return exitCodes.done;
    },
  },
  {
    noun: "rule",
    verb: "add",
    about: "let nodes that are trusted from now on install themselves",
    positionals: ["NAME"],
    options: addOptions,
    examples: [
      "marcoboot rule add workers --place lab --image debian-12 --authorized-keys keys.pub",
      "marcoboot rule add db --tag db --min-disk 400 --image debian-12 --burn-in 600 --before workers",
      "marcoboot rule add spare --place lab/c",
    ],
    async run(run) {
      const rule = ruleFrom(required(run.positionals[0], "NAME"), run.values);
      if (rule.wipe === "any") {
        const what = `${matchText(rule)}: whatever is on the disk of such a node will be lost`;
        await confirm(run, `${what}.`, rule.name);
      }
      const before = textOf(run.values, "before");
      const body = { rule, ...some("before", before) };
      const added = await run.client.send("POST", "/api/v1/rules", body);
      run.output.value(added, `rule ${rule.name}: ${matchText(rule)}: ${doesText(rule)}`);
      return exitCodes.done;
    },
  },
  {
    noun: "rule",
    verb: "remove",
    about: "remove a rule of the server; a rack's rules are in its file",
    positionals: ["NAME"],
    options: { yes: yesOption },
    examples: ["marcoboot rule remove spare --yes"],
    async run(run) {
      const name = required(run.positionals[0], "NAME");
      await confirm(run, `Rule ${name} will be gone.`, name);
      await run.client.send("DELETE", `/api/v1/rules/${encodeURIComponent(name)}`);
      run.output.value({ removed: name }, `rule ${name} is removed`);
      return exitCodes.done;
    },
  },
  {
    noun: "rule",
    verb: "test",
    about: "which rule matches a node, and why the others do not; nothing is done",
    positionals: ["NODE"],
    options: {},
    examples: ["marcoboot rule test lab-a-1"],
    async run({ client, output, positionals }) {
      const node = encodeURIComponent(required(positionals[0], "NODE"));
      const trial = (await client.get(`/api/v1/nodes/${node}/rules`)) as RuleTrial;
      const lines = trial.verdicts.map(({ name, origin, why }) => {
        const verdict = why.length === 0 ? "matches" : why.join("; ");
        return `${name} (${origin}): ${verdict}`;
      });
      output.value(trial, [...lines, trial.text].join("\n"));
      return exitCodes.done;
    },
  },
];
