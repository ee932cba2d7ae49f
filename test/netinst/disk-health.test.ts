import test from "ava";
import { healthOfEmmc, healthOfSmartctl } from "../../netinst/disk-health.ts";

// Members as smartctl 7.3 prints them with --json --health --attributes.
const nvme = {
  smart_status: { passed: true, nvme: { value: 0 } },
  nvme_smart_health_information_log: {
    critical_warning: 0,
    temperature: 41,
    available_spare: 100,
    available_spare_threshold: 10,
    percentage_used: 3,
    media_errors: 0,
  },
  temperature: { current: 41 },
  power_on_time: { hours: 9123 },
};
const sata = {
  smart_status: { passed: false },
  ata_smart_attributes: {
    table: [
      { id: 5, name: "Reallocated_Sector_Ct", raw: { value: 8, string: "8" } },
      { id: 9, name: "Power_On_Hours", raw: { value: 31000, string: "31000" } },
      { id: 197, name: "Current_Pending_Sector", raw: { value: 0, string: "0" } },
      { id: 198, name: "Offline_Uncorrectable", raw: { value: 2, string: "2" } },
    ],
  },
  power_on_time: { hours: 31000 },
  temperature: { current: 38 },
};

const rows: readonly (readonly [title: string, output: string, health: unknown])[] = [
  [
    "an NVMe disk tells its wear",
    JSON.stringify(nvme),
    { passed: true, wearPercent: 3, powerOnHours: 9123, temperatureCelsius: 41 },
  ],
  [
    "an NVMe disk that runs out of spare blocks says so",
    JSON.stringify({
      ...nvme,
      nvme_smart_health_information_log: {
        ...nvme.nvme_smart_health_information_log,
        available_spare: 4,
        media_errors: 7,
        percentage_used: 104,
      },
    }),
    {
      passed: true,
      wearPercent: 104,
      powerOnHours: 9123,
      temperatureCelsius: 41,
      faults: ["7 media errors", "only 4 % of its spare blocks are left"],
    },
  ],
  [
    "a SATA disk tells what was reallocated and what cannot be read",
    `smartctl 7.3\n${JSON.stringify(sata)}`,
    {
      passed: false,
      powerOnHours: 31000,
      temperatureCelsius: 38,
      faults: ["8 sectors reallocated", "2 sectors that cannot be read"],
    },
  ],
  [
    "a SAS disk tells its defects",
    JSON.stringify({ smart_status: { passed: true }, scsi_grown_defect_list: 3 }),
    { passed: true, faults: ["3 defects grown"] },
  ],
  [
    "a disk without SMART tells nothing",
    JSON.stringify({ smartctl: { exit_status: 2 } }),
    undefined,
  ],
  ["no document is no health", "smartctl: command not found", undefined],
];
for (const [title, output, health] of rows) {
  test(title, (t) => t.deepEqual(healthOfSmartctl(output), health as never));
}

// JEDEC JESD84-B51, EXT_CSD [267] to [269].
const cards: readonly (readonly [string, string, string | undefined, unknown])[] = [
  ["a young eMMC", "0x01 0x02\n", "0x01\n", { passed: true, wearPercent: 20 }],
  [
    "an eMMC that has used most of its spare blocks",
    "0x08 0x09\n",
    "0x02\n",
    { passed: true, wearPercent: 90, faults: ["80 % of its spare blocks are used"] },
  ],
  [
    "an eMMC at its end",
    "0x0b 0x0b\n",
    "0x03\n",
    { passed: false, wearPercent: 110, faults: ["90 % of its spare blocks are used"] },
  ],
  ["an SD card does not tell", "0x00 0x00\n", undefined, undefined],
];
for (const [title, lifeTime, preEol, health] of cards) {
  test(title, (t) => t.deepEqual(healthOfEmmc(lifeTime, preEol), health as never));
}
