/** Others on the same wire. */

import type { RuleGroup } from "../rule.ts";

export const networkRules: RuleGroup = {
  whileBooting: true,
  rules: [
    {
      code: "another-server",
      severity: "hint",
      tell({ rogues, subnet }) {
        if (subnet?.mode === "proxy") return undefined; // it is there on purpose
        const others = [...new Set(rogues.map(({ address, kind }) => `${address} (${kind})`))];
        if (others.length === 0) return undefined;
        return `another server answered on ${rogues[0]?.interface} as well: ${others.join(", ")}`;
      },
      remedy:
        "one DHCP server per network: switch the other off, or set the subnet's mode to `proxy`",
    },
  ],
};
