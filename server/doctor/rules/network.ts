/** Others on the same wire. */

import { isBesideAnother, type RuleGroup } from "../rule.ts";

export const networkRules: RuleGroup = {
  whileBooting: true,
  rules: [
    {
      code: "another-server",
      severity: "hint",
      tell(story) {
        if (isBesideAnother(story)) return undefined; // it is there on purpose
        const { rogues } = story;
        const others = [...new Set(rogues.map(({ address, kind }) => `${address} (${kind})`))];
        if (others.length === 0) return undefined;
        return `another server answered on ${rogues[0]?.interface} as well: ${others.join(", ")}`;
      },
      remedy:
        "one DHCP server per network: switch the other off, or set the subnet's mode to `proxy`",
    },
  ],
};
