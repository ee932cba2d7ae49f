/**
 * Capture: an image of a node's system. The agent in netinst sends what is on its disk, which is
 * only read, the library takes it in, and the node goes back to its installed system.
 *
 *   waiting-for-agent -> preparing, sending -> storing -> rebooting -> first-boot -> done
 *   (we)                 (netinst reports)     (we)       (we)         (the node)
 */

import { Type } from "typebox";
import { type CaptureParameters, captureFormats, type Stage } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { agentsWork, bootIdBefore, bootInstalled, bringIntoNetinst } from "../agent-work.ts";
import { AttemptError, type JobOf, type Kind, type TaskRun } from "../kind.ts";
import { check } from "../parameters.ts";

const schema = Type.Object(
  {
    name: Type.String({ pattern: "^[a-z0-9][a-z0-9._-]{0,62}$" }),
    format: Type.Union(
      captureFormats.map((one) => Type.Literal(one)),
      { default: "rootfs-tar" },
    ),
    disk: Type.Optional(Type.String({ pattern: "^[A-Za-z0-9_.:-]{1,64}$" })),
    /** Absolute, no `.` and `..`, no slash at the end. */
    leaveOut: Type.Array(
      Type.String({ pattern: "^(/(?!\\.{1,2}(/|$))[^/\\u0000-\\u001f]+)+$", maxLength: 4095 }),
      { maxItems: 64, default: [] },
    ),
  },
  { additionalProperties: false },
);

const agentStages = ["preparing", "sending"] as const;

export const capture: Kind<"capture"> = {
  kind: "capture",
  stages: ["waiting-for-agent", ...agentStages, "storing", "rebooting", "first-boot"],
  agentStages,
  stageAfterDone: "storing",
  mostNodes: 1,
  parse: (value): CaptureParameters => check(schema, value),

  refuse(node) {
    if (node.quarantined) return `${node.name} is held back: ${node.reason ?? "in quarantine"}`;
    if (node.state === "retired") return `${node.name} is retired`;
    if (node.state === "discovered" || node.architecture === undefined) {
      return `${node.name} has not enrolled yet: let it boot from the network once`;
    }
    return undefined;
  },

  async run(run, job) {
    if (run.task.stage === "waiting-for-agent") {
      order(run, job, (await bringIntoNetinst(run)).bootId);
      run.setStage("preparing");
    } else if (isAgentsWork(run.task.stage)) {
      order(run, job, bootIdBefore(run));
    }
    await agentsWork(run, () => isAgentsWork(run.task.stage));
    if (run.task.stage === "storing") await store(run, job);
    // Without a system from here nothing would call: it stays in netinst, where it was before.
    if (run.node.state === "installed") await bootInstalled(run);
    return {};
  },
};

function order(run: TaskRun, { parameters }: JobOf<"capture">, bootId: string): void {
  const { format, leaveOut } = parameters;
  const disk = parameters.disk ?? installedDisk(run.node);
  const slot = run.node.installedDisk?.slots?.active;
  run.order(
    {
      action: "capture",
      ...{ format, leaveOut, bootloader: bootloaderOf(run.node), isLast: run.isLastAttempt() },
      ...(disk !== undefined && { disk }),
      ...(slot !== undefined && { slot }),
    },
    bootId,
  );
}

async function store(run: TaskRun, { parameters: { name, format } }: JobOf<"capture">) {
  const { architecture } = run.node;
  if (architecture === undefined) throw new AttemptError("its architecture is not known", false);
  run.say("checking what came, and taking it into the library");
  const described = { name, format, architecture, bootloader: bootloaderOf(run.node) };
  const { digest, storedBytes } = await run.takeCapture(described);
  run.say(`in the library as ${name}: ${storedBytes} octets, ${digest}`);
  run.setStage("rebooting");
}

function installedDisk({ installedDisk: disk }: Node): string | undefined {
  return disk?.serial ?? disk?.name;
}

/** What a system of this node's kind boots by. */
function bootloaderOf({ firmware, installedDisk: disk }: Node): "grub" | "raspberry-pi" {
  if (disk?.slots) return disk.slots.bootloader;
  return firmware?.startsWith("raspberry-pi") ? "raspberry-pi" : "grub";
}

function isAgentsWork(stage: Stage | undefined): boolean {
  return agentStages.some((one) => one === stage);
}
