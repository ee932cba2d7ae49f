/** What a tile shows: never by colour alone, always shape and words too. */

import { type Stage, stages, type Task } from "#protocol/job.ts";
import type { Tile } from "./site.ts";

export const looks = [
  "empty",
  "discovered",
  "ready",
  "working",
  "installed",
  "failed",
  "off",
  "held",
] as const;
export type Look = (typeof looks)[number];

export interface Face {
  readonly look: Look;
  /** One or two words. */
  readonly label: string;
  /** 0-100 of the whole task, where one runs. */
  readonly percent?: number;
  /** `netinst`, `resident` or why there is none. */
  readonly agent: string;
}

/** Where each stage begins and ends on the ring, as share of a usual install's time. */
const shares: Readonly<Record<Stage, readonly [number, number]>> = {
  "waiting-for-agent": [0, 20],
  preparing: [20, 24],
  writing: [24, 62],
  verifying: [62, 74],
  configuring: [74, 80],
  committing: [80, 82],
  rebooting: [82, 88],
  "first-boot": [88, 100],
  confirming: [90, 100],
  confirmed: [100, 100],
  "falling-back": [88, 100],
  requested: [0, 30],
  "powering-off": [30, 100],
  showing: [0, 100],
  shown: [100, 100],
  "reading-hardware": [0, 100],
  recorded: [100, 100],
  testing: [20, 100],
  tested: [100, 100],
  executing: [0, 100],
  "executing-by-ssh": [0, 100],
  executed: [100, 100],
  copying: [0, 100],
  copied: [100, 100],
  sending: [24, 76],
  storing: [76, 82],
};

export function faceOf({ node, task }: Tile): Face {
  if (!node) return { look: "empty", label: "empty", agent: "" };
  const agent = node.connection === "online" ? (node.agent?.role ?? "online") : "offline";
  if (task?.state === "running") {
    return { look: "working", label: stageText(task), percent: overall(task), agent };
  }
  if (task) return { look: "working", label: `${task.kind} queued`, percent: 0, agent };
  if (node.quarantined) return { look: "held", label: "held back", agent };
  if (node.asks && node.connection === "offline") {
    return { look: "held", label: "asks to enrol", agent };
  }
  if (node.power === "off" && node.state !== "failed") return { look: "off", label: "off", agent };
  switch (node.state) {
    case "discovered":
      return { look: "discovered", label: "discovered", agent };
    case "enrolled":
    case "ready":
      return { look: "ready", label: node.state, agent };
    case "installing":
      return { look: "working", label: "installing", agent };
    case "installed":
      return { look: "installed", label: "installed", agent };
    case "failed":
      return { look: "failed", label: "failed", agent };
    case "retired":
      return { look: "off", label: "retired", agent };
  }
}

export function stageText({ stage, percent, kind }: Task): string {
  if (!stage) return kind;
  const words = stage.replaceAll("-", " ");
  return percent > 0 && percent < 100 ? `${words} ${Math.round(percent)} %` : words;
}

/** 0-100 over all stages. */
export function overall({ stage, percent, kind }: Task): number {
  if (!stage || !stages.includes(stage)) return 0;
  if (kind !== "install" && kind !== "update" && stage === "rebooting") return 60;
  const [from, to] = shares[stage];
  return Math.round(from + ((to - from) * Math.min(100, Math.max(0, percent))) / 100);
}
