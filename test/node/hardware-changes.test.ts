import test from "ava";
import type { Disk, Hardware } from "#protocol/node.ts";
import { hardwareChanges } from "../../server/node/hardware-changes.ts";

const ssd: Disk = { name: "sda", sizeBytes: 480e9, serial: "S1", removable: false };
const card: Disk = { name: "mmcblk0", sizeBytes: 32e9, removable: true };
const machine: Hardware = {
  model: "Raspberry Pi 4",
  cpuModel: "Cortex-A72",
  cores: 4,
  cpus: 4,
  memoryMiB: 7800,
  memoryModules: [
    { socket: "DIMM_A1", sizeMiB: 4096, serial: "M1" },
    { socket: "DIMM_B1", sizeMiB: 4096, serial: "M2" },
  ],
  disks: [ssd, card],
  interfaces: [{ name: "eth0", mac: "dc:a6:32:00:00:01", speedMbps: 1000 }],
  firmware: [{ name: "bootloader", version: "2023-01-11" }],
  temperatureCelsius: 41,
};
const { memoryModules: _, ...withoutModules } = machine;

const rows: readonly (readonly [
  title: string,
  before: Hardware,
  change: Partial<Hardware>,
  texts: readonly string[],
])[] = [
  ["the same machine has no changes", machine, {}, []],
  [
    "what is measured anew each time is no change",
    machine,
    {
      temperatureCelsius: 70,
      interfaces: [{ name: "eth0", mac: "dc:a6:32:00:00:01", speedMbps: 100 }],
      disks: [{ ...ssd, health: { wearPercent: 3 }, contents: { kind: "blank", text: "" } }, card],
    },
    [],
  ],
  [
    "a disk under another kernel name is the same by its serial number",
    machine,
    { disks: [{ ...ssd, name: "sdb" }, card] },
    [],
  ],
  [
    "an interface under another name is the same by its MAC address",
    machine,
    { interfaces: [{ name: "end0", mac: "dc:a6:32:00:00:01" }] },
    [],
  ],
  [
    "a fixed disk that is gone is a loss",
    machine,
    { disks: [card] },
    ["! disk sda (S1, 480.0 GB) is gone"],
  ],
  ["a card that was pulled is none", machine, { disks: [ssd] }, ["disk mmcblk0 (32.0 GB) is gone"]],
  [
    "an exchanged disk is gone, and another is new",
    machine,
    { disks: [{ ...ssd, serial: "S2" }, card] },
    ["! disk sda (S1, 480.0 GB) is gone", "disk sda (S2, 480.0 GB) is new"],
  ],
  [
    "a disk that has shrunk is a loss",
    machine,
    { disks: [{ ...ssd, sizeBytes: 240e9 }, card] },
    ["! disk sda (S1, 480.0 GB) has 240.0 GB now"],
  ],
  [
    "a memory module that is gone is told by its socket, not twice",
    machine,
    { memoryMiB: 3900, memoryModules: machine.memoryModules?.slice(0, 1) ?? [] },
    ["! memory module DIMM_B1 (4096 MiB, M2) is gone"],
  ],
  [
    "half of the memory is a loss where no module is known",
    withoutModules,
    { memoryMiB: 3900 },
    ["! memory: 7800 MiB before, 3900 MiB now"],
  ],
  ["what another kernel keeps for itself is no loss", withoutModules, { memoryMiB: 6900 }, []],
  [
    "a disk that begins to fail is told",
    machine,
    {
      disks: [{ ...ssd, health: { passed: false, faults: ["8 sectors reallocated"] } }, card],
    },
    ["! disk sda (S1, 480.0 GB): expects to fail, 8 sectors reallocated"],
  ],
  [
    "and not again with every further sector",
    {
      ...machine,
      disks: [{ ...ssd, health: { passed: true, faults: ["8 sectors reallocated"] } }],
    },
    { disks: [{ ...ssd, health: { passed: true, faults: ["16 sectors reallocated"] } }] },
    [],
  ],
  ["a core that is off is a loss", machine, { cores: 3 }, ["! processor cores: 4 before, 3 now"]],
  [
    "a new interface and a new firmware are told",
    machine,
    {
      interfaces: [...machine.interfaces, { name: "eth1", mac: "dc:a6:32:00:00:02" }],
      firmware: [{ name: "bootloader", version: "2025-02-11" }],
    },
    ["network interface dc:a6:32:00:00:02 is new", "bootloader 2023-01-11 is now 2025-02-11"],
  ],
];
for (const [title, before, change, texts] of rows) {
  test(title, (t) => {
    const changes = hardwareChanges(before, { ...before, ...change });
    t.deepEqual(
      changes.map(({ text, isLoss }) => `${isLoss ? "! " : ""}${text}`),
      texts,
    );
  });
}

test("an agent that does not know what another one knew makes no change", (t) => {
  const { model, cpus, memoryMiB, disks, interfaces } = machine;
  t.deepEqual(hardwareChanges(machine, { model, cpus, memoryMiB, disks, interfaces }), []);
});
