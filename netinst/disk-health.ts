/**
 * How worn a disk is and whether it expects to fail: `smartctl` for NVMe, SATA and SAS, the
 * kernel's own files for eMMC.
 */

import type { Disk, DiskHealth } from "#protocol/node.ts";
import { readText } from "./settings.ts";
import { runTool } from "./tools.ts";

/** Undefined where the disk does not tell. */
export async function readHealth(disk: Disk, sys = "/sys"): Promise<DiskHealth | undefined> {
  const lifeTime = readText(`${sys}/block/${disk.name}/device/life_time`);
  if (lifeTime !== undefined) {
    return healthOfEmmc(lifeTime, readText(`${sys}/block/${disk.name}/device/pre_eol_info`));
  }
  // Its exit code is a set of bits about the disk: whatever it is, the document counts.
  const good = Array.from({ length: 256 }, (_, code) => code);
  const args = ["--json=c", "--health", "--attributes", `/dev/${disk.name}`];
  const said = await runTool("smartctl", args, { good }).catch(() => undefined);
  return said && healthOfSmartctl(said.output);
}

/** JEDEC eMMC 5.0, EXT_CSD 267-269: life used in tenths (11: all of it), and spare blocks. */
export function healthOfEmmc(lifeTime: string, preEol = ""): DiskHealth | undefined {
  const tenths = Math.max(...lifeTime.trim().split(/\s+/).map(Number));
  if (!Number.isInteger(tenths) || tenths < 1) return undefined; // 0: not defined
  const spare = Number(preEol.trim());
  return {
    passed: spare !== 3 && tenths < 11,
    wearPercent: tenths * 10,
    ...(spare === 2 && { faults: ["80 % of its spare blocks are used"] }),
    ...(spare === 3 && { faults: ["90 % of its spare blocks are used"] }),
  };
}

/** Those of smartctl's members that are read. */
interface Smart {
  readonly smart_status?: { readonly passed?: boolean };
  readonly temperature?: { readonly current?: number };
  readonly power_on_time?: { readonly hours?: number };
  readonly nvme_smart_health_information_log?: {
    readonly percentage_used?: number;
    readonly media_errors?: number;
    readonly available_spare?: number;
    readonly available_spare_threshold?: number;
  };
  readonly ata_smart_attributes?: {
    readonly table?: readonly {
      readonly id?: number;
      readonly raw?: { readonly value?: number };
    }[];
  };
  readonly scsi_grown_defect_list?: number;
}

/** SATA attributes whose raw value should be 0. */
const bad: readonly (readonly [id: number, what: string])[] = [
  [5, "sectors reallocated"],
  [197, "sectors waiting to be reallocated"],
  [198, "sectors that cannot be read"],
];

/** @param output - what `smartctl --json` printed */
export function healthOfSmartctl(output: string): DiskHealth | undefined {
  const smart = parse(output);
  const passed = smart?.smart_status?.passed;
  if (smart === undefined || typeof passed !== "boolean") return undefined;
  const nvme = smart.nvme_smart_health_information_log;
  const attributes = smart.ata_smart_attributes?.table ?? [];
  const spare = (nvme?.available_spare ?? 100) < (nvme?.available_spare_threshold ?? 0);
  const faults = [
    ...bad.flatMap(([id, what]) =>
      counted(attributes.find((one) => one.id === id)?.raw?.value, what),
    ),
    ...counted(nvme?.media_errors, "media errors"),
    ...counted(smart.scsi_grown_defect_list, "defects grown"),
    ...(spare ? [`only ${nvme?.available_spare} % of its spare blocks are left`] : []),
  ];
  const [wear, hours, temperature] = [
    nvme?.percentage_used,
    smart.power_on_time?.hours,
    smart.temperature?.current,
  ];
  return {
    passed,
    ...(isCount(wear) && { wearPercent: wear }),
    ...(isCount(hours) && { powerOnHours: hours }),
    ...(isCount(temperature) && { temperatureCelsius: temperature }),
    ...(faults.length > 0 && { faults }),
  };
}

function counted(value: number | undefined, what: string): readonly string[] {
  return isCount(value) && value > 0 ? [`${value} ${what}`] : [];
}

function isCount(value: number | undefined): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}

function parse(output: string): Smart | undefined {
  try {
    const value: unknown = JSON.parse(output.slice(Math.max(0, output.indexOf("{"))));
    return value !== null && typeof value === "object" ? (value as Smart) : undefined;
  } catch {
    return undefined; // the tool found no disk it understands
  }
}
