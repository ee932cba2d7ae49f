/** A node in words, for `node show`. */

import {
  burnInTexts,
  hardwareTexts,
  protectionText,
  switchPortTexts,
} from "#protocol/hardware-text.ts";
import {
  type AgentProgram,
  type AgentSession,
  type EnrolmentAsk,
  type InstalledSlots,
  slotText,
} from "#protocol/node.ts";
import { otherSlot } from "#protocol/root-slots.ts";
import { type Image, type Node, timeText } from "../shapes.ts";

/** Its state, and whether somebody is needed for it. */
export function stateText({ state, quarantined, asks = [] }: Node): string {
  if (quarantined) return `${state}, held`;
  return asks.length > 0 ? `${state}, asks` : state;
}

export function placeText({ slot }: Node): string {
  return slot ? slotText(slot) : "-";
}

function askText({ code, address, at }: EnrolmentAsk): string {
  return `${code} from ${address} (${timeText(at)})`;
}

function agentText({ role, version, program }: AgentSession): string {
  const which = program ? ` (${program.digest.slice(0, 12)})` : "";
  return `${role} ${version}${which}`;
}

function slotsText({ active, rootBytes, data }: InstalledSlots): string {
  const size = `${Math.round(rootBytes / 1024 ** 2)} MiB each`;
  return `${active} boots, an update writes ${otherSlot(active)}; ${size}, data at ${data}`;
}

function triedText({ digest, times }: NonNullable<AgentProgram["tried"]>): string {
  return `${digest.slice(0, 12)} was started ${times} times and did not call: the one before goes on`;
}

/** Rows of a name and a value; a value that is not there is a hyphen. */
export function describe(node: Node, images: readonly Image[]): string {
  const image = images.find(({ digest }) => digest === node.image);
  const { burnIn, hardware, protection } = node;
  const rows: readonly (readonly [string, string | undefined])[] = [
    ["name", node.name],
    ["id", node.id],
    ["state", node.reason ? `${node.state}: ${node.reason}` : node.state],
    ["tags", node.tags?.join(", ")],
    ["protected", protection && `${protectionText(protection)} (${timeText(protection.at)})`],
    ["power", node.power],
    ["connection", node.connection],
    ["slot", placeText(node)],
    ["mac", node.mac],
    ["serial", node.serial],
    ["address", node.address],
    ["firmware", node.firmware],
    ["architecture", node.architecture],
    ["agent", node.agent && agentText(node.agent)],
    ["agent update", node.agent?.program?.tried && triedText(node.agent.program.tried)],
    ["last seen", node.agent && timeText(node.agent.lastSeen)],
    ["image", image ? `${image.name} (${image.digest.slice(0, 12)})` : node.image],
    ["root slots", node.installedDisk?.slots && slotsText(node.installedDisk.slots)],
    ["certificate", node.certificateUntil && `until ${timeText(node.certificateUntil)}`],
    ["asks", node.asks?.map(askText).join(", ")],
    ["rule", node.rule?.text],
    ["burn-in", burnIn && `${timeText(burnIn.at)}, ${burnIn.seconds} s`],
  ];
  const parts = [
    ...(burnIn ? burnInTexts(burnIn) : []),
    ...(hardware ? hardwareTexts(hardware) : []),
    ...switchPortTexts(node.switchPorts),
  ];
  return [...rows, ...parts.map(({ name, text }) => [name, text] as const)]
    .map(([name, value]) => `${name.padEnd(13)} ${value ?? "-"}`)
    .join("\n");
}
