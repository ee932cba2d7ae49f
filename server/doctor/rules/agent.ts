/** From the kernel to an agent that calls, and whether it is let in. */

import { type FileStage, stageOfFile } from "../boot-names.ts";
import { type RuleGroup, since } from "../rule.ts";
import type { Story } from "../story.ts";
import { durationText } from "../words.ts";

/** The first stage loads drivers and asks by DHCP; a slow board needs a minute. */
const firstStage = 90_000;
/** A node that reboots is silent for so long: its firmware tests its memory. */
const restart = 180_000;
/** The agent is started from RAM, searches its server and makes a key. */
const secondStage = 120_000;

function sentAt({ files }: Story, stage: FileStage) {
  return files.findLast(({ name, outcome }) => outcome === "sent" && stageOfFile(name) === stage)
    ?.at;
}

export const agentStartRules: RuleGroup = {
  whileBooting: true,
  rules: [
    {
      code: "kernel-without-initrd",
      severity: "problem",
      tell(story) {
        const kernel = sentAt(story, "kernel");
        const initrd = sentAt(story, "initrd");
        if (kernel === undefined || since(story, story.lastHeard) < firstStage) return undefined;
        if ((initrd ?? 0) >= kernel - 60_000 || sentAt(story, "agent") !== undefined)
          return undefined;
        return `the kernel was loaded ${durationText(since(story, kernel))} ago, and the initrd was not`;
      },
      remedy: "the loader gave up on the initrd (too little memory?): look at its screen",
    },
    {
      code: "kernel-and-no-agent",
      severity: "problem",
      tell(story) {
        const initrd = sentAt(story, "initrd");
        const agent = sentAt(story, "agent");
        if (initrd === undefined || (agent ?? 0) > initrd) return undefined;
        if (since(story, initrd) < firstStage || isEnrolling(story, initrd)) return undefined;
        return `kernel and initrd were loaded ${durationText(since(story, initrd))} ago, and the agent was never asked for`;
      },
      remedy:
        "the kernel did not start, or has no driver for this network card: look at its screen, or at its console with `kernelArguments: [console=…]`",
    },
    {
      code: "agent-never-called",
      severity: "problem",
      tell(story) {
        const agent = sentAt(story, "agent");
        if (agent === undefined || since(story, agent) < secondStage) return undefined;
        if (isEnrolling(story, agent)) return undefined;
        return `the agent was loaded ${durationText(since(story, agent))} ago and never called`;
      },
      remedy:
        "it searches its server by multicast: a switch with IGMP snooping and no querier drops that (`marcoboot doctor`); or a firewall drops the agents' HTTPS port",
    },
  ],
};

/** Something of the agent was heard after `at`. */
function isEnrolling({ enrolments, node }: Story, at: number): boolean {
  return enrolments.some((one) => one.at >= at) || (node?.agent?.lastSeen ?? 0) >= at;
}

export const agentRules: RuleGroup = {
  whileBooting: false,
  rules: [
    {
      code: "held-back",
      severity: "problem",
      tell: ({ node }) =>
        node?.quarantined ? `it is held back: ${node.reason ?? "no reason recorded"}` : undefined,
      remedy: "find out why, then `marcoboot node approve` it",
    },
    {
      code: "enrolment-refused",
      severity: "problem",
      tell({ enrolments, node }) {
        const last = enrolments.at(-1);
        if (last?.outcome !== "refused" || node?.quarantined || node?.connection === "online") {
          return undefined;
        }
        return `its agent was refused: ${last.reason ?? "no reason recorded"}`;
      },
      remedy:
        "compare the code with the one on its screen and `marcoboot node approve` it, or switch its outlet on by a job: that opens its enrolment",
    },
    {
      code: "agent-silent",
      severity: "problem",
      tell(story) {
        const { node, begin, lastHeard } = story;
        if (!node?.agent || node.connection === "online" || node.power === "off") return undefined;
        const isLast = node.agent.lastSeen >= Math.max(begin ?? 0, lastHeard ?? 0);
        if (!isLast || since(story, node.agent.lastSeen) < restart) return undefined;
        return `its agent (${node.agent.role}) called last ${durationText(since(story, node.agent.lastSeen))} ago, and nothing was heard since`;
      },
      remedy: "it lost power, network or its agent: look at it, or switch it off and on",
    },
    {
      code: "agent-online",
      severity: "ok",
      tell: (story) =>
        story.state === "up" && story.node?.agent
          ? `its agent (${story.node.agent.role}) has called for ${durationText(since(story, story.node.agent.since))}`
          : undefined,
    },
  ],
};
