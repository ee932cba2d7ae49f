/** What stands before every boot: is there power, and does anything come by the wire? */

import { type RuleGroup, since } from "../rule.ts";
import type { Story } from "../story.ts";
import { durationText } from "../words.ts";

/** A server with much memory needs this long before its firmware speaks. */
const quietBeforeWorry = 90_000;

function switchedOn({ powers }: Story) {
  const last = powers.at(-1);
  return last?.ok && last.state === "on" ? last : undefined;
}

export const powerRules: RuleGroup = {
  whileBooting: true,
  rules: [
    {
      code: "power-failed",
      severity: "problem",
      tell({ powers }) {
        const last = powers.at(-1);
        if (!last || last.ok) return undefined;
        return `its outlet could not be switched ${last.state}: ${last.reason ?? "no reason given"}`;
      },
      remedy: "look at the outlet's hardware and its settings in the rack file",
    },
    {
      code: "silent-since-power-on",
      severity: "problem",
      tell(story) {
        const on = switchedOn(story);
        const isHeard = story.lastHeard !== undefined && on && story.lastHeard >= on.at;
        if (!on || isHeard || story.now - on.at < quietBeforeWorry) return undefined;
        return `switched on ${durationText(since(story, on.at))} ago, and nothing was heard of it since: not one DISCOVER`;
      },
      remedy:
        "see whether its link light is on and its port is in this network (VLAN); network boot must be on in its firmware (Raspberry Pi 3: the OTP bit; 4 and 5: a 2 in BOOT_ORDER); then switch it off and on",
    },
    {
      code: "never-heard",
      severity: "problem",
      tell: ({ begin, powers, node }) =>
        begin === undefined && powers.length === 0 && !node?.agent
          ? "nothing was heard of it"
          : undefined,
      remedy:
        "switch it on; compare its MAC address with the one asked about; see that its port is in the network this server serves",
    },
  ],
};

export const powerStateRules: RuleGroup = {
  whileBooting: false,
  rules: [
    {
      code: "powered-off",
      severity: "ok",
      tell: ({ state }) => (state === "off" ? "it is switched off" : undefined),
      remedy: "`marcoboot power on`, or a job, switches it on",
    },
  ],
};
