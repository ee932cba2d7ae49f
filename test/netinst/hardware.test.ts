/** Machines as directories that look like /sys and /proc of them. */

import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { cpuModelOf, readHardware } from "../../netinst/hardware.ts";
import { temporaryDirectory } from "../support/temporary.ts";

function machine(
  t: ExecutionContext,
  files: Readonly<Record<string, string | Buffer>>,
  links: Readonly<Record<string, string>> = {},
) {
  const root = temporaryDirectory(t);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  for (const [path, target] of Object.entries(links)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    mkdirSync(join(root, target), { recursive: true });
    symlinkSync(join(root, target), join(root, path));
  }
  return readHardware(join(root, "sys"), undefined, join(root, "proc"));
}

test("a PC tells of its BIOS, processor, disks, interfaces and temperature", (t) => {
  const hardware = machine(
    t,
    {
      "proc/meminfo": "MemTotal:       16303428 kB\nMemFree: 1 kB\n",
      "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) Core(TM) i5-8500T CPU @ 2.10GHz\n",
      "sys/class/dmi/id/sys_vendor": "LENOVO\n",
      "sys/class/dmi/id/product_name": "10RS000DGE\n",
      "sys/class/dmi/id/product_serial": "S4ABC123\n",
      "sys/class/dmi/id/bios_vendor": "LENOVO\n",
      "sys/class/dmi/id/bios_version": "M1UKT4CA\n",
      "sys/class/dmi/id/bios_date": "05/26/2020\n",
      ...Object.fromEntries(
        [0, 1, 2, 3].flatMap((cpu) => [
          [`sys/devices/system/cpu/cpu${cpu}/topology/core_id`, `${cpu % 2}\n`],
          [`sys/devices/system/cpu/cpu${cpu}/topology/physical_package_id`, "0\n"],
        ]),
      ),
      "sys/block/nvme0n1/size": "1000215216\n",
      "sys/block/nvme0n1/removable": "0\n",
      "sys/block/nvme0n1/queue/rotational": "0\n",
      "sys/block/nvme0n1/device/model": "SAMSUNG MZVLB512HAJQ\n",
      "sys/block/nvme0n1/device/serial": "S3W8NX0M\n",
      "sys/block/nvme0n1/device/firmware_rev": "EXD7101Q\n",
      "sys/block/sda/size": "1953525168\n",
      "sys/block/sda/queue/rotational": "1\n",
      "sys/block/loop0/size": "100\n",
      "sys/class/net/eno1/address": "98:fa:9b:00:00:ff\n",
      "sys/class/net/eno1/bonding_slave/perm_hwaddr": "98:fa:9b:00:00:01\n",
      "sys/class/net/eno1/speed": "1000\n",
      "sys/class/net/docker0/address": "02:42:00:00:00:01\n",
      "sys/class/thermal/thermal_zone0/temp": "27800\n",
      "sys/class/hwmon/hwmon1/temp1_input": "41000\n",
      "sys/class/hwmon/hwmon1/temp2_input": "-274000\n",
      "sys/class/hwmon/hwmon1/fan1_input": "900000\n",
    },
    { "sys/class/net/eno1/device/driver": "sys/bus/pci/drivers/e1000e" },
  );
  const { cpus, ...known } = hardware;
  t.true(cpus >= 1);
  t.deepEqual(known, {
    model: "LENOVO 10RS000DGE",
    serial: "S4ABC123",
    cpuModel: "Intel(R) Core(TM) i5-8500T CPU @ 2.10GHz",
    cores: 2,
    memoryMiB: 15921,
    disks: [
      {
        name: "nvme0n1",
        sizeBytes: 512110190592,
        model: "SAMSUNG MZVLB512HAJQ",
        serial: "S3W8NX0M",
        removable: false,
      },
      { name: "sda", sizeBytes: 1000204886016, removable: false, rotational: true },
    ],
    interfaces: [{ name: "eno1", mac: "98:fa:9b:00:00:01", driver: "e1000e", speedMbps: 1000 }],
    firmware: [
      { name: "BIOS", version: "LENOVO M1UKT4CA", date: "05/26/2020" },
      { name: "disk nvme0n1", version: "EXD7101Q" },
    ],
    temperatureCelsius: 41,
  });
});

test("a Raspberry Pi tells of its EEPROM by the device tree", (t) => {
  const tree = "sys/firmware/devicetree/base";
  const built = Buffer.alloc(4);
  built.writeUInt32BE(1_673_438_400);
  const hardware = machine(t, {
    "proc/meminfo": "MemTotal: 7999488 kB\n",
    "proc/cpuinfo": "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n\nModel\t: Pi\n",
    [`${tree}/model`]: "Raspberry Pi 4 Model B Rev 1.4\0",
    [`${tree}/serial-number`]: "10000000a1b2c3d4\0",
    [`${tree}/chosen/bootloader/version`]: "8ba17717fbcedd4c3b6d4bce7e50c7af4155cba9\0",
    [`${tree}/chosen/bootloader/build-timestamp`]: built,
    "sys/class/net/eth0/address": "dc:a6:32:01:02:03\n",
    "sys/class/net/eth0/speed": "-1\n",
  });
  t.like(hardware, {
    model: "Raspberry Pi 4 Model B Rev 1.4",
    serial: "10000000a1b2c3d4",
    cpuModel: "Cortex-A72",
    firmware: [
      {
        name: "bootloader",
        version: "8ba17717fbcedd4c3b6d4bce7e50c7af4155cba9",
        date: "2023-01-11",
      },
    ],
    interfaces: [{ name: "eth0", mac: "dc:a6:32:01:02:03" }],
  });
  t.is(hardware.cores, undefined);
});

for (const [title, cpuinfo, model] of [
  [
    "an unknown ARM processor by its numbers",
    "CPU implementer : 0x61\nCPU part : 0x022\n",
    "ARM 0x61/0x022",
  ],
  ["a processor that says nothing", "processor : 0\n", undefined],
] as const) {
  test(title, (t) => t.is(cpuModelOf(cpuinfo), model));
}
