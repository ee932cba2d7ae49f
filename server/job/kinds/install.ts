/**
 * Install: brings the node into netinst, lets the agent write the image, and
 * is done only when the agent of the installed system calls from another boot,
 * under the node's name.
 *
 *   waiting-for-agent -> preparing … committing -> rebooting -> first-boot -> done
 *   (we)                 (netinst reports)         (we)         (the node)
 */

import { Type } from "typebox";
import { type ImageDigest, parseImageDigest } from "#protocol/brand.ts";
import { targetDisk } from "#protocol/disk.ts";
import { type InstallParameters, installStages, type Stage, type Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { wipes } from "#protocol/rule.ts";
import type { NodeChange } from "../../node/nodes.ts";
import { agentsWork, bootIdBefore, bootInstalled, bringIntoNetinst } from "../agent-work.ts";
import type { InstallImage, Kind } from "../kind.ts";
import { check } from "../parameters.ts";

const schema = Type.Object(
  {
    image: Type.String({ pattern: "^[0-9a-f]{64}$" }),
    disk: Type.Optional(Type.String({ pattern: "^[A-Za-z0-9_.:-]{1,64}$" })),
    /** One OpenSSH public key per line: no line breaks inside. */
    authorizedKeys: Type.Array(Type.String({ pattern: "^[\\x20-\\x7e]{1,8192}$" }), {
      maxItems: 64,
      default: [],
    }),
    wipe: Type.Optional(Type.Union(wipes.map((one) => Type.Literal(one)))),
  },
  { additionalProperties: false },
);

const agentStages = ["preparing", "writing", "verifying", "configuring", "committing"] as const;

export const install: Kind<"install"> = {
  kind: "install",
  stages: installStages,
  agentStages,
  stageAfterDone: "rebooting",
  endsOnline: true,

  parse(value): InstallParameters {
    const { image, ...rest } = check(schema, value);
    return { ...rest, image: parseImageDigest(image) };
  },

  keepsOf(node, { disk }) {
    const serial = serialOfTarget(node, disk);
    return serial === undefined ? {} : { diskSerial: serial };
  },

  refuse(node, job, images) {
    const { image, disk } = job.parameters;
    return whyNotWritten(node, images.get(image), image, disk);
  },

  async run(run, job) {
    if (run.task.stage === "waiting-for-agent") {
      const agent = await bringIntoNetinst(run);
      run.orderInstall(job, agent.bootId);
      run.setStage("preparing");
    } else if (isAgentsWork(run.task.stage)) {
      run.orderInstall(job, bootIdBefore(run));
    }
    await agentsWork(run, () => isAgentsWork(run.task.stage));
    await bootInstalled(run);
    return { state: "installed", image: job.parameters.image, reason: undefined };
  },

  nodeWhenBegun: () => ({ state: "installing", reason: undefined }),

  // From the first write there is no system on the disk, whatever was there before.
  nodeWhenReported: (node, stage) =>
    stage === "writing" && node.image !== undefined
      ? {
          ...{ image: undefined, sshHostKeys: undefined, installedDisk: undefined },
          nextCertificate: undefined,
        }
      : {},

  nodeWhenTold: (_node, { sshHostKeys, disk }) => ({
    ...(sshHostKeys && { sshHostKeys }),
    ...(disk && { installedDisk: disk }),
  }),

  nodeWhenEnded(node, task, reason) {
    if (wasWritten(task)) return { state: "failed", reason };
    return { state: stateWithout(node) };
  },
};

/** Why no image may be written on the node, or not this one; undefined: one may. */
export function whyNotWritten(
  node: Node,
  image: InstallImage | undefined,
  digest: ImageDigest,
  wanted: string | undefined,
): string | undefined {
  if (!image) return `image ${digest} is no longer in the library`;
  if (image.format === "file") return `${image.name} is a file to copy, not an OS image`;
  if (node.quarantined) return `${node.name} is held back: ${node.reason ?? "in quarantine"}`;
  if (node.state === "retired") return `${node.name} is retired`;
  const { protection } = node;
  if (protection) return `${node.name} is protected by ${protection.by}: ${protection.reason}`;
  if (node.state === "discovered") {
    return `${node.name} has not enrolled yet: let it boot from the network once`;
  }
  if (node.architecture !== undefined && node.architecture !== image.architecture) {
    return `${node.name} is ${node.architecture}, image ${image.name} is for ${image.architecture}`;
  }
  const disk = targetDisk(node.hardware?.disks ?? [], wanted);
  if (typeof disk === "string" || !disk.protection) return undefined; // the agent will see
  const { by, reason } = disk.protection;
  return `disk ${disk.name} of ${node.name} is protected by ${by}: ${reason}`;
}

/**
 * The serial of the disk that the agent would choose now (netinst/disk.ts): undefined when
 * that disk has none, shares it with another, or there is no such disk.
 */
function serialOfTarget({ hardware }: Node, wanted: string | undefined): string | undefined {
  const disks = hardware?.disks ?? [];
  const target = targetDisk(disks, wanted);
  const serial = typeof target === "string" ? undefined : target.serial;
  return disks.filter((disk) => disk.serial === serial).length === 1 ? serial : undefined;
}

function isAgentsWork(stage: Stage | undefined): boolean {
  return agentStages.some((one) => one === stage);
}

/** Whether any attempt of this task got as far as writing to the disk. */
function wasWritten(task: Task): boolean {
  const clean: readonly (Stage | undefined)[] = ["waiting-for-agent", "preparing", undefined];
  const dirty = installStages.slice(installStages.indexOf("writing"));
  return (
    dirty.some((stage) => task.stageSeconds[stage] !== undefined) || !clean.includes(task.stage)
  );
}

/** The state a node had before an install that wrote nothing. */
function stateWithout(node: Node): NonNullable<NodeChange["state"]> {
  if (node.image !== undefined) return "installed";
  return node.slot === undefined ? "enrolled" : "ready";
}
