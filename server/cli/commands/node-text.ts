/** A node in words, for `node show`. */

import type { Disk, Hardware, MemoryModule } from "#protocol/node.ts";
import { type Node, timeText } from "../shapes.ts";

export function slotText({ slot }: Node): string {
  return slot ? `${slot.rack}/${slot.stack}/${slot.slot}` : "-";
}

type Row = readonly (string | undefined)[];

/** Rows of a name and a value; a value that is not there is a hyphen. */
export function describe(node: Node): string {
  const rows: readonly Row[] = [
    ["name", node.name],
    ["id", node.id],
    ["state", node.reason ? `${node.state}: ${node.reason}` : node.state],
    ["tags", node.tags?.join(", ")],
    ...(node.protection ? [["protected", protectionText(node.protection)]] : []),
    ["power", node.power],
    ["connection", node.connection],
    ["slot", slotText(node)],
    ["mac", node.mac],
    ["serial", node.serial],
    ["address", node.address],
    ["firmware", node.firmware],
    ["architecture", node.architecture],
    ["agent", node.agent && `${node.agent.role} ${node.agent.version}`],
    ["last seen", node.agent && timeText(node.agent.lastSeen)],
    ["image", node.image],
    ["certificate", node.certificateUntil && `until ${timeText(node.certificateUntil)}`],
    ["asks", node.asks?.map((ask) => `${ask.code} from ${ask.address}`).join(", ")],
    ["rule", node.rule?.text],
    ...burnInRows(node),
    ...(node.hardware ? hardwareRows(node.hardware) : [["hardware", undefined]]),
  ];
  return rows.map(([name = "", value]) => `${name.padEnd(13)} ${value ?? "-"}`).join("\n");
}

function protectionText({ reason, by, at }: NonNullable<Node["protection"]>): string {
  return `by ${by} since ${timeText(at)}: ${reason}`;
}

function burnInRows({ burnIn }: Node): readonly Row[] {
  if (!burnIn) return [];
  return [
    ["burn-in", `${timeText(burnIn.at)}, ${burnIn.seconds} s`],
    ...burnIn.results.map(({ part, passed, text }) => [
      "",
      `${part}: ${passed ? "good" : "FAULT"}, ${text}`,
    ]),
  ];
}

function hardwareRows(hardware: Hardware): readonly Row[] {
  const { model, cpuModel, cores, cpus, memoryMiB, memoryModules, temperatureCelsius } = hardware;
  const processor = [cpuModel, cores && `${cores} cores`, `${cpus} threads`];
  return [
    ["hardware", model],
    ["processor", processor.filter((part) => part !== undefined).join(", ")],
    ["memory", `${memoryMiB} MiB`],
    ...(memoryModules ?? []).map((module) => ["", moduleText(module)]),
    ...hardware.disks.map((disk) => ["disk", diskText(disk)]),
    ...hardware.interfaces.map(({ name, mac, driver, speedMbps }) => [
      "interface",
      [name, mac, driver, speedMbps && `${speedMbps} Mbit/s`].filter(Boolean).join(" "),
    ]),
    ...(hardware.firmware ?? []).map(({ name, version, date }) => [
      "version",
      `${name} ${version}${date === undefined ? "" : `, ${date}`}`,
    ]),
    ...(temperatureCelsius === undefined ? [] : [["temperature", `${temperatureCelsius} °C`]]),
  ];
}

function moduleText({ socket, sizeMiB, type, speedMTs, manufacturer, part }: MemoryModule): string {
  const words = [`${sizeMiB} MiB`, type, speedMTs && `${speedMTs} MT/s`, manufacturer, part];
  return `${socket}: ${words.filter(Boolean).join(" ")}`;
}

function diskText({ name, sizeBytes, model, serial, removable, ...more }: Disk): string {
  const { health, contents, protection } = more;
  return [
    `${name} ${(sizeBytes / 1e9).toFixed(1)} GB`,
    model,
    serial,
    removable && "removable",
    contents && `holds ${contents.text}`,
    health?.passed === false && "EXPECTS TO FAIL",
    health?.wearPercent !== undefined && `${health.wearPercent} % worn`,
    health?.powerOnHours !== undefined && `${health.powerOnHours} h`,
    health?.temperatureCelsius !== undefined && `${health.temperatureCelsius} °C`,
    ...(health?.faults ?? []),
    protection && `PROTECTED by ${protection.by}: ${protection.reason}`,
  ]
    .filter(Boolean)
    .join(", ");
}
