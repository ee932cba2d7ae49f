/** All groups of rules, in the order of a boot; what they say, problems first. */

import type { Finding } from "#protocol/timeline.ts";
import type { Rule, RuleGroup } from "./rule.ts";
import { addressRules } from "./rules/address.ts";
import { agentRules, agentStartRules } from "./rules/agent.ts";
import { consoleRules } from "./rules/console.ts";
import { fileRules } from "./rules/files.ts";
import { networkRules } from "./rules/network.ts";
import { powerRules, powerStateRules } from "./rules/power.ts";
import { taskRules } from "./rules/task.ts";
import type { Story } from "./story.ts";
import { durationText } from "./words.ts";

/** The further a boot came, the more its later rules say: they speak first. */
export const ruleGroups: readonly RuleGroup[] = [
  taskRules,
  agentRules,
  powerStateRules,
  consoleRules,
  agentStartRules,
  fileRules,
  addressRules,
  powerRules,
  networkRules,
];

const order: readonly Finding["severity"][] = ["problem", "ok", "hint"];

/** Never empty. */
export function diagnose(story: Story): readonly Finding[] {
  const findings = ruleGroups
    .filter(({ whileBooting }) => !whileBooting || story.state === "booting")
    .flatMap(({ rules }) => rules.flatMap((rule) => tell(rule, story)));
  const known = findings.some(({ severity }) => severity !== "hint");
  const all = known ? findings : [...findings, onItsWay(story)];
  return all.toSorted((one, other) => order.indexOf(one.severity) - order.indexOf(other.severity));
}

function tell({ code, severity, remedy, tell: say }: Rule, story: Story): readonly Finding[] {
  const text = say(story);
  if (text === undefined) return [];
  const advice = typeof remedy === "function" ? remedy(story) : remedy;
  return [{ code, severity, text, ...(advice && { remedy: advice }) }];
}

const patience = 180_000;

/** No rule knows better: it was heard a moment ago, or it was not. */
function onItsWay({ now, lastHeard, begin, node }: Story): Finding {
  const quiet = now - Math.max(lastHeard ?? begin ?? now, node?.agent?.lastSeen ?? 0);
  if (quiet < patience) {
    return {
      code: "on-its-way",
      severity: "ok",
      text: `it is on its way: last heard ${durationText(quiet)} ago`,
    };
  }
  return {
    code: "silent",
    severity: "problem",
    text: `nothing was heard of it for ${durationText(quiet)}, and no known reason fits`,
    remedy: "read the time line to its end, and look at its screen",
  };
}
