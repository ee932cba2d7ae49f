/**
 * What became different in a machine from one boot to the next.
 *
 * Pure. Names of the kernel (`sda`, `eth0`) may change with every boot, so disks are told apart by
 * serial number and interfaces by MAC address; what is measured anew each time (temperature,
 * wear, contents, link speed) is no change of the machine. A disk that begins to fail is one.
 */

import type { Disk, Hardware, MemoryModule } from "#protocol/node.ts";

export interface HardwareChange {
  /** For people: `disk sda (S1, 480.1 GB) is gone`. */
  readonly text: string;
  /** Something is missing or smaller: somebody should look. */
  readonly isLoss: boolean;
}

/** Two kernels keep different parts of the same memory for themselves; one may reserve room for its crash dump. */
const memoryTolerance = 1 / 8;

export function hardwareChanges(before: Hardware, after: Hardware): readonly HardwareChange[] {
  return [
    ...changed("model", before.model, after.model),
    ...changed("processor", before.cpuModel, after.cpuModel),
    ...counted("processor cores", before.cores, after.cores),
    ...counted("processor threads", before.cpus, after.cpus),
    ...memoryChanges(before, after),
    ...diskChanges(before.disks, after.disks),
    ...interfaceChanges(before, after),
    ...firmwareChanges(before, after),
  ];
}

/** A value that one of the two does not know is no change. */
function changed(what: string, before: string | undefined, after: string | undefined) {
  if (before === undefined || after === undefined || before === after) return [];
  return [{ text: `${what} ${before} is now ${after}`, isLoss: false }];
}

function counted(what: string, before: number | undefined, after: number | undefined) {
  if (before === undefined || after === undefined || before === after) return [];
  return [{ text: `${what}: ${before} before, ${after} now`, isLoss: after < before }];
}

function memoryChanges(before: Hardware, after: Hardware): readonly HardwareChange[] {
  const modules = moduleChanges(before.memoryModules, after.memoryModules);
  if (modules.length > 0) return modules;
  const difference = after.memoryMiB - before.memoryMiB;
  if (Math.abs(difference) <= before.memoryMiB * memoryTolerance) return [];
  const text = `memory: ${before.memoryMiB} MiB before, ${after.memoryMiB} MiB now`;
  return [{ text, isLoss: difference < 0 }];
}

function moduleChanges(
  before: readonly MemoryModule[] | undefined,
  after: readonly MemoryModule[] | undefined,
): readonly HardwareChange[] {
  if (!before || !after) return [];
  const textOf = ({ socket, sizeMiB, serial }: MemoryModule) =>
    `memory module ${socket} (${sizeMiB} MiB${serial === undefined ? "" : `, ${serial}`})`;
  const keys = (modules: readonly MemoryModule[]) =>
    new Map(modules.map((one) => [textOf(one), 1]));
  return goneAndNew([...keys(before).keys()], [...keys(after).keys()]);
}

function diskChanges(before: readonly Disk[], after: readonly Disk[]): readonly HardwareChange[] {
  const keyOf = (disk: Disk) => disk.serial ?? `${disk.name} ${disk.model ?? ""}`;
  const found = new Map(after.map((disk) => [keyOf(disk), disk]));
  const known = new Map(before.map((disk) => [keyOf(disk), disk]));
  const gone = before.filter((disk) => !found.has(keyOf(disk)));
  const fresh = after.filter((disk) => !known.has(keyOf(disk)));
  const resized = after.flatMap((disk) => {
    const old = known.get(keyOf(disk));
    if (!old || old.sizeBytes === disk.sizeBytes) return [];
    const text = `${diskText(old)} has ${sizeText(disk.sizeBytes)} now`;
    return [{ text, isLoss: disk.sizeBytes < old.sizeBytes }];
  });
  const failing = after.flatMap((disk) => failureOf(known.get(keyOf(disk)), disk));
  return [
    // a stick that was pulled is nobody's loss
    ...gone.map((disk) => ({ text: `${diskText(disk)} is gone`, isLoss: !disk.removable })),
    ...fresh.map((disk) => ({ text: `${diskText(disk)} is new`, isLoss: false })),
    ...resized,
    ...failing,
  ];
}

/** Said once, when it begins: counters that rise are seen in the inventory. */
function failureOf(before: Disk | undefined, disk: Disk): readonly HardwareChange[] {
  const { passed, faults = [] } = disk.health ?? {};
  const expectsIt = passed === false && before?.health?.passed !== false;
  const hasBegun = faults.length > 0 && before?.health?.faults === undefined;
  const words = [...(expectsIt ? ["expects to fail"] : []), ...(hasBegun ? faults : [])];
  if (words.length === 0) return [];
  return [{ text: `${diskText(disk)}: ${words.join(", ")}`, isLoss: true }];
}

function diskText({ name, serial, sizeBytes }: Disk): string {
  return `disk ${name} (${serial === undefined ? "" : `${serial}, `}${sizeText(sizeBytes)})`;
}

function sizeText(octets: number): string {
  return `${(octets / 1e9).toFixed(1)} GB`;
}

function interfaceChanges(before: Hardware, after: Hardware): readonly HardwareChange[] {
  const texts = ({ interfaces }: Hardware) =>
    interfaces.map(({ mac }) => `network interface ${mac}`);
  return goneAndNew(texts(before), texts(after));
}

function firmwareChanges(before: Hardware, after: Hardware): readonly HardwareChange[] {
  return (after.firmware ?? []).flatMap(({ name, version }) =>
    changed(name, before.firmware?.find((one) => one.name === name)?.version, version),
  );
}

function goneAndNew(
  before: readonly string[],
  after: readonly string[],
): readonly HardwareChange[] {
  const missing = before.filter((text) => !after.includes(text));
  const fresh = after.filter((text) => !before.includes(text));
  return [
    ...missing.map((text) => ({ text: `${text} is gone`, isLoss: true })),
    ...fresh.map((text) => ({ text: `${text} is new`, isLoss: false })),
  ];
}
