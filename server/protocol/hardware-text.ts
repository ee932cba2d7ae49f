/** A machine in words: one row for each part, for the command line and the page. */

import type { BurnIn, Disk, Hardware, MemoryModule, NetworkInterface, Protection } from "./node.ts";
import { type SwitchPorts, switchPortText } from "./switch-port.ts";

export interface PartText {
  /** `processor`, `disk`; empty for one that belongs to the part before. */
  readonly name: string;
  readonly text: string;
  /** Somebody should look at it. */
  readonly isFault?: boolean;
}

export function hardwareTexts(hardware: Hardware): readonly PartText[] {
  const { model, cpuModel, cores, cpus, memoryMiB, memoryModules, temperatureCelsius } = hardware;
  return [
    { name: "hardware", text: model },
    {
      name: "processor",
      text: joined([cpuModel, withUnit(cores, "cores"), withUnit(cpus, "threads")]),
    },
    { name: "memory", text: `${memoryMiB} MiB` },
    ...(memoryModules ?? []).map((module) => ({ name: "", text: moduleText(module) })),
    ...hardware.disks.map((disk) => ({
      name: "disk",
      text: diskText(disk),
      isFault: disk.health?.passed === false || disk.health?.faults !== undefined,
    })),
    ...hardware.interfaces.map((one) => ({ name: "interface", text: interfaceText(one) })),
    ...(hardware.firmware ?? []).map(({ name, version, date }) => ({
      name: "version",
      text: joined([`${name} ${version}`, date]),
    })),
    ...(temperatureCelsius === undefined
      ? []
      : [{ name: "temperature", text: `${temperatureCelsius} °C` }]),
  ];
}

function moduleText({ socket, sizeMiB, type, speedMTs, manufacturer, part }: MemoryModule): string {
  const speed = withUnit(speedMTs, "MT/s");
  return `${socket}: ${joined([`${sizeMiB} MiB`, type, speed, manufacturer, part], " ")}`;
}

function interfaceText({ name, mac, driver, speedMbps }: NetworkInterface): string {
  return joined([name, mac, driver, withUnit(speedMbps, "Mbit/s")], " ");
}

function diskText({ name, sizeBytes, model, serial, removable, ...more }: Disk): string {
  const { health, contents, protection } = more;
  return joined([
    `${name} ${(sizeBytes / 1e9).toFixed(1)} GB`,
    model,
    serial,
    removable ? "removable" : undefined,
    contents && `holds ${contents.text}`,
    health?.passed === false ? "expects to fail" : undefined,
    withUnit(health?.wearPercent, "% worn"),
    withUnit(health?.powerOnHours, "h in use"),
    withUnit(health?.temperatureCelsius, "°C"),
    ...(health?.faults ?? []),
    protection && `protected by ${protection.by}: ${protection.reason}`,
  ]);
}

export function burnInTexts({ results }: BurnIn): readonly PartText[] {
  return results.map(({ part, passed, text }) => ({
    name: "",
    text: `${part}: ${passed ? "good" : "FAULT"}, ${text}`,
    isFault: !passed,
  }));
}

/** Nothing before the node has heard of a switch. */
export function switchPortTexts(ports: SwitchPorts | undefined): readonly PartText[] {
  return (ports?.heard ?? []).map((port) => ({ name: "switch port", text: switchPortText(port) }));
}

export function protectionText({ reason, by }: Protection): string {
  return `by ${by}: ${reason}`;
}

function withUnit(value: number | undefined, unit: string): string | undefined {
  return value === undefined ? undefined : `${value} ${unit}`;
}

function joined(words: readonly (string | undefined)[], by = ", "): string {
  return words.filter((word) => word !== undefined && word !== "").join(by);
}
