/** From the first DISCOVER to an address. */

import { isBesideAnother, isRaspberryPi, type Rule, type RuleGroup, since } from "../rule.ts";
import type { Story, Told } from "../story.ts";
import { count, durationText } from "../words.ts";

/** A Raspberry Pi 3 asks within 5 s of power, others within 15 s. */
const firstDiscover = 25_000;

function discovers({ dhcp }: Story): readonly Told<"dhcp">[] {
  return dhcp.filter(({ message }) => message === "discover");
}

/** ProxyDHCP: what it needs to boot, without an address. */
function isBootPart({ outcome, address }: Told<"dhcp">): boolean {
  return outcome === "offer" && address === undefined;
}

/** The newest DISCOVERs, as long as all came to the same. */
function lastWith(story: Story, outcome: string): readonly Told<"dhcp">[] {
  const all = discovers(story);
  const other = all.findLastIndex((one) => one.outcome !== outcome);
  return all.slice(other + 1);
}

/** A DISCOVER that got no answer, and why. */
function unanswered(
  outcome: string,
  why: (story: Story) => string,
  remedy: NonNullable<Rule["remedy"]>,
): Rule {
  return {
    code: outcome,
    severity: "problem",
    tell(story) {
      const silent = lastWith(story, outcome);
      if (silent.length === 0) return undefined;
      return `${count(silent.length, "DISCOVER")} not answered: ${why(story)}`;
    },
    remedy,
  };
}

export const addressRules: RuleGroup = {
  whileBooting: true,
  rules: [
    unanswered(
      "unknown-client",
      ({ mac, subnet }) =>
        subnet
          ? `nobody knows ${mac}, and ${subnet.cidr} is in mode ${subnet.mode}${subnet.mode === "reservation" ? ", which serves only known nodes" : ""}`
          : `nobody knows ${mac}`,
      "learn the rack, write the node into the rack file, or give the subnet a `pool`",
    ),
    unanswered(
      "being-learned",
      () => "a rack is being learned, and unknown boards wait until it is known where they are",
      "wait for its end; `learn show` tells how far it is",
    ),
    unanswered(
      "unknown-relay",
      () => "it came by a relay agent that is not configured",
      "add the relay agent's address to `relays` of its subnet",
    ),
    unanswered(
      "foreign-subnet",
      () => "it came by a relay agent for a subnet that is not configured",
      "add the subnet to the configuration",
    ),
    unanswered(
      "no-boot-file",
      ({ firmware }) => `there is nothing to boot for its firmware (${firmware ?? "unknown"})`,
      "the boot loaders are missing (run set-up), or a class of the subnet has `boot: false`",
    ),
    unanswered(
      "lease-pool-exhausted",
      ({ subnet }) => `no address is free${subnet ? ` in ${subnet.cidr}` : ""}`,
      "widen `pool` or `reserved`, or remove reservations",
    ),
    unanswered(
      "no-address",
      () => "no address of this subnet is its own",
      "its reservation is for another subnet: correct the address in the rack file",
    ),
    {
      code: "dhcp-off",
      severity: "problem",
      tell: ({ subnet }) =>
        subnet?.mode === "off" ? `DHCP is switched off for ${subnet.cidr}` : undefined,
      remedy: "set the subnet's `mode`",
    },
    {
      code: "took-another-offer",
      severity: "problem",
      tell(story) {
        const last = story.dhcp.at(-1);
        if (last?.message !== "request" || last.outcome !== "other-server") return undefined;
        if (isBesideAnother(story)) return undefined;
        const others = [...new Set(story.rogues.map(({ address }) => address))];
        return `it took the offer of another DHCP server${others.length > 0 ? ` (${others.join(", ")})` : ""}`;
      },
      remedy:
        "one DHCP server per network: switch the other off, or let this one only add the boot files (mode `proxy`)",
    },
    {
      code: "offers-not-taken",
      severity: "problem",
      tell(story) {
        const offers = lastWith(story, "offer");
        const isLast = story.dhcp.at(-1)?.message === "discover";
        // a Raspberry Pi 2 or 3 never sends a REQUEST: the rule of the files speaks of it
        if (story.firmware === "raspberry-pi-3" || !isLast || offers.length < 3) return undefined;
        if (offers.some(isBootPart)) return undefined;
        return `${count(offers.length, "DISCOVER")} answered, and it takes none of the OFFERs: they do not reach it, or it wants something else in them`;
      },
      remedy:
        "look for a port in learning state (spanning tree), DHCP snooping that trusts another port, or a second DHCP server it prefers",
    },
    {
      code: "no-address-from-the-other",
      severity: "problem",
      tell(story) {
        const offers = lastWith(story, "offer").filter(isBootPart);
        const isLast = story.dhcp.at(-1)?.message === "discover";
        if (!isLast || offers.length < 2 || story.files.length > 0) return undefined;
        return `${count(offers.length, "DISCOVER")} answered with the boot files alone, and nothing came after: the other DHCP server seems to give it no address`;
      },
      remedy:
        "see that the network's DHCP server is up and has an address for it; or let this one give the addresses (mode `dynamic` or `reservation`)",
    },
    {
      code: "listening",
      severity: "ok",
      tell: ({ dhcp }) =>
        dhcp.at(-1)?.outcome === "listening"
          ? "the server has just started and still listens for others (mode auto): its next DISCOVER is answered"
          : undefined,
    },
    {
      code: "refused-again",
      severity: "problem",
      tell({ dhcp }) {
        const naks = dhcp.filter(({ outcome }) => outcome === "nak").length;
        if (naks < 3 || dhcp.at(-1)?.outcome !== "nak") return undefined;
        return `${count(naks, "REQUEST")} for an address that is not its own, refused each time`;
      },
      remedy: "its OS insists on an address it was given elsewhere: give it a lease by DHCP again",
    },
    {
      code: "address-in-use",
      severity: "problem",
      tell({ dhcp }) {
        const last = dhcp.findLast(({ message }) => message === "decline");
        const isOver = dhcp.some(({ at, outcome }) => last && at > last.at && outcome === "ack");
        if (!last || isOver) return undefined;
        return `it found ${last.address ?? "its address"} in use by another device`;
      },
      remedy:
        "find the device that has this address by hand, and move it out of the subnet's ranges",
    },
    {
      code: "late-first-discover",
      severity: "hint",
      tell(story) {
        const on = story.powers.findLast(({ ok, state }) => ok && state === "on");
        const [first] = discovers(story).filter(({ at }) => on && at >= on.at);
        if (!on || !first || !isRaspberryPi(story) || first.at - on.at < firstDiscover) {
          return undefined;
        }
        return `its first DISCOVER came ${durationText(first.at - on.at)} after power-on: the switch seems to hold the port back (spanning tree)`;
      },
      remedy:
        "make the nodes' switch ports edge ports (portfast); a Raspberry Pi 3 gives up after 25 s",
    },
    {
      code: "gave-up",
      severity: "problem",
      tell(story) {
        const asked = discovers(story);
        const last = asked.at(-1);
        const isSilent = since(story, last?.at) > 30_000 && story.lastHeard === last?.at;
        if (story.firmware !== "raspberry-pi-3" || asked.length < 4 || !isSilent) return undefined;
        return `${count(asked.length, "DISCOVER")} and then silence: this boot ROM has given up until its next power cycle`;
      },
      remedy: "switch it off and on once the reason above is gone",
    },
    {
      code: "two-interfaces",
      severity: "hint",
      tell({ dhcp }) {
        const names = [...new Set(dhcp.map((one) => one.interface))];
        return names.length > 1 ? `it is heard on ${names.join(" and ")}` : undefined;
      },
      remedy: "two networks are bridged somewhere, or it has two cables",
    },
  ],
};
