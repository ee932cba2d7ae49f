import test from "ava";
import type { Finding } from "#protocol/timeline.ts";
import { ruleGroups } from "../../server/doctor/diagnosis.ts";
import {
  agentSession,
  bound,
  type Case,
  dhcp,
  file,
  findingsOf,
  instantAt,
  node,
  power,
  says,
  task,
} from "./recording.ts";

const pi3 = "raspberry-pi-3";
const pi4 = "raspberry-pi-4";
const rogue = {
  topic: "rogue-server",
  interface: "eth1",
  kind: "dhcp",
  address: "10.77.0.9",
} as never;

/** A Raspberry Pi 4 with everything up to its initrd (boot-facts of the EEPROM; names from one log). */
const piFiles = [
  file(4, "a1b2c3d4/start4.elf"),
  file(4, "a1b2c3d4/config.txt"),
  file(5, "a1b2c3d4/recovery.elf", "not-found"),
  file(6, "a1b2c3d4/fixup4.dat"),
  file(7, "a1b2c3d4/bcm2711-rpi-4-b.dtb"),
  file(8, "a1b2c3d4/cmdline.txt"),
  file(9, "a1b2c3d4/kernel8.img", "sent", 9e6),
  file(20, "a1b2c3d4/initrd.img", "sent", 5e6),
];
const agentFile = file(40, "boot/netinst/arm64/agent.squashfs", "sent", 44e6, "http");
const five = [0, 5, 10, 15, 20].map((at) => dhcp(at, "discover", "offer", pi3));

/** What is told first: severity, code, and words of it. */
type Row = readonly [title: string, told: Case, Finding["severity"], code: string, words: RegExp];

const table: readonly Row[] = [
  [
    "answered, and no file asked for",
    { entries: five, now: 22 + 8 },
    "problem",
    "no-file-asked",
    /^5 DISCOVERs answered, no file asked: option 43 rejected\?$/,
  ],
  [
    "a MAC address nobody knows, in mode reservation",
    {
      entries: [
        dhcp(0, "discover", "unknown-client", pi4),
        dhcp(4, "discover", "unknown-client", pi4),
      ],
      now: 6,
    },
    "problem",
    "unknown-client",
    /^2 DISCOVERs not answered: nobody knows dc:a6:32:01:36:c2, and 10\.77\.0\.0\/24 is in mode reservation/,
  ],
  [
    "an unknown board while a rack is being learned",
    { entries: [dhcp(0, "discover", "being-learned", pi4)], now: 6 },
    "problem",
    "being-learned",
    /^1 DISCOVER not answered: a rack is being learned/,
  ],
  [
    "no boot file for its firmware",
    { entries: [dhcp(0, "discover", "no-boot-file", "uefi-pxe-arm64")], now: 6 },
    "problem",
    "no-boot-file",
    /uefi-pxe-arm64/,
  ],
  [
    "no free address",
    { entries: [dhcp(0, "discover", "lease-pool-exhausted", pi4)], now: 6, mode: "dynamic" },
    "problem",
    "lease-pool-exhausted",
    /no address is free in 10\.77\.0\.0\/24/,
  ],
  [
    "it takes another server's offer",
    {
      entries: [
        dhcp(0, "discover", "offer", pi4),
        dhcp(1, "request", "other-server", pi4),
        [2, rogue],
      ],
      now: 6,
    },
    "problem",
    "took-another-offer",
    /another DHCP server \(10\.77\.0\.9\)/,
  ],
  [
    "OFFERs that nobody takes",
    { entries: [0, 4, 12].map((at) => dhcp(at, "discover", "offer", "uefi-pxe-x64")), now: 30 },
    "problem",
    "offers-not-taken",
    /^3 DISCOVERs answered, and it takes none of the OFFERs/,
  ],
  [
    "beside another DHCP server that gives no address",
    {
      entries: [0, 4].map((at) =>
        dhcp(at, "discover", "offer", "bios-pxe", { address: undefined as never }),
      ),
      now: 9,
      mode: "proxy",
    },
    "problem",
    "no-address-from-the-other",
    /^2 DISCOVERs answered with the boot files alone/,
  ],
  [
    "beside another DHCP server that does",
    {
      entries: [
        dhcp(0, "discover", "offer", "bios-pxe", { address: undefined as never }),
        dhcp(1, "request", "other-server", "bios-pxe"),
      ],
      now: 3,
      mode: "proxy",
    },
    "ok",
    "on-its-way",
    /./,
  ],
  [
    "a server in mode auto that listens",
    { entries: [dhcp(0, "discover", "listening", "bios-pxe")], now: 3, mode: "auto" },
    "ok",
    "listening",
    /next DISCOVER is answered/,
  ],
  [
    "a relay agent that is not configured",
    { entries: [dhcp(0, "discover", "unknown-relay", pi4)], now: 3 },
    "problem",
    "unknown-relay",
    /relay agent that is not configured/,
  ],
  [
    "a relay agent of another subnet",
    { entries: [dhcp(0, "discover", "foreign-subnet", pi4)], now: 3 },
    "problem",
    "foreign-subnet",
    /for a subnet that is not configured/,
  ],
  [
    "a reservation of another subnet",
    { entries: [dhcp(0, "discover", "no-address", pi4)], now: 3 },
    "problem",
    "no-address",
    /no address of this subnet/,
  ],
  [
    "DHCP that is switched off",
    { entries: [dhcp(0, "discover", "off", pi4)], now: 3, mode: "off" },
    "problem",
    "dhcp-off",
    /10\.77\.0\.0\/24/,
  ],
  [
    "an OS that insists on another address",
    { entries: [0, 4, 8].map((at) => dhcp(at, "request", "nak")), now: 9 },
    "problem",
    "refused-again",
    /^3 REQUESTs/,
  ],
  [
    "an address in use",
    { entries: [bound(0, "uefi-pxe-x64"), dhcp(3, "decline", "noted")], now: 6 },
    "problem",
    "address-in-use",
    /in use by another device/,
  ],
  [
    "switched on and silent",
    { entries: [power(0, "on")], now: 120, node: node() },
    "problem",
    "silent-since-power-on",
    /^switched on 2 min ago, and nothing was heard of it since/,
  ],
  [
    "switched on a moment ago",
    { entries: [power(0, "on")], now: 30, node: node() },
    "ok",
    "on-its-way",
    /on its way/,
  ],
  [
    "an outlet that does not switch",
    { entries: [power(0, "on", "no answer from the outlet")], now: 3, node: node() },
    "problem",
    "power-failed",
    /no answer from the outlet/,
  ],
  [
    "switched off on purpose",
    { entries: [bound(0, pi4), power(9, "off")], now: 3600, node: node({ power: "off" }) },
    "ok",
    "powered-off",
    /switched off/,
  ],
  ["never heard", { entries: [], now: 0 }, "problem", "never-heard", /nothing was heard of it/],
  [
    "a file that is not there",
    {
      entries: [
        bound(0, pi4),
        file(3, "a1b2c3d4/start4.elf", "not-found"),
        file(3, "start4.elf", "not-found"),
      ],
      now: 10,
      node: node(),
    },
    "problem",
    "file-missing",
    /^start4\.elf was asked for and is not there: wrong image\?$/,
  ],
  [
    "start4.elf in the serial's directory missing, at the root found: no fault",
    {
      entries: [bound(0, pi4), file(3, "a1b2c3d4/start4.elf", "not-found"), file(4, "start4.elf")],
      now: 10,
      node: node(),
    },
    "ok",
    "on-its-way",
    /./,
  ],
  [
    "a Raspberry Pi that shall boot its own disk",
    {
      entries: [bound(0, pi4), file(3, "a1b2c3d4/start4.elf", "not-found")],
      now: 60,
      node: node({ state: "installed" }),
    },
    "ok",
    "own-disk",
    /its own disk/,
  ],
  [
    "a Raspberry Pi that has tried a root slot, and boots its own disk again",
    {
      entries: [
        task(-300, { kind: "update", state: "running", stage: "first-boot", isTried: true }),
        bound(0, pi4),
        file(3, "a1b2c3d4/start4.elf", "not-found"),
      ],
      now: 60,
      node: node({
        state: "installed",
        installedDisk: {
          name: "mmcblk0",
          slots: { active: "a", rootBytes: 1, data: "/srv", bootloader: "raspberry-pi" },
        },
      }),
    },
    "ok",
    "task-runs",
    /./,
  ],
  [
    "an iPXE that was told to boot the disk, in an image without our agent",
    {
      entries: [bound(0, "bios-pxe"), file(3, "undionly.kpxe"), file(9, "boot/node/x/boot.ipxe")],
      now: 600,
      node: node({ state: "installed" }),
    },
    "ok",
    "own-disk",
    /its own disk/,
  ],
  [
    "an installed OS that does not come up",
    {
      entries: [bound(0, "bios-pxe"), file(3, "undionly.kpxe"), file(9, "boot/node/x/boot.ipxe")],
      now: 609,
      node: node({
        state: "installed",
        agent: { ...agentSession(-900, -60), role: "resident" },
      }),
    },
    "problem",
    "own-disk-silent",
    /^it was sent to its own disk 10 min ago, and its OS has not called since$/,
  ],
  [
    "a file longer than the block counter",
    { entries: [bound(0, pi4), file(9, "a1b2c3d4/initrd.img", "sent", 70_000_000)], now: 15 },
    "problem",
    "file-too-large",
    /initrd\.img has 70\.0 MB/,
  ],
  [
    "stopped where the counter ends",
    { entries: [bound(0, pi3), file(9, "kernel8.img", "aborted", 65535 * 512)], now: 15 },
    "problem",
    "stopped-at-roll-over",
    /33\.6 MB/,
  ],
  [
    "transfers that break off",
    {
      entries: [
        bound(0, "uefi-pxe-x64"),
        file(3, "ipxe-x64.efi", "aborted", 90_000),
        file(20, "ipxe-x64.efi", "aborted", 14_680),
      ],
      now: 30,
    },
    "problem",
    "transfer-broken-off",
    /^ipxe-x64\.efi broke off 2 times, last after 15 kB$/,
  ],
  [
    "EDK2's size probe is no fault",
    {
      entries: [
        bound(0, "uefi-pxe-x64"),
        file(3, "ipxe-x64.efi", "aborted", 0),
        file(4, "ipxe-x64.efi"),
      ],
      now: 10,
    },
    "ok",
    "on-its-way",
    /./,
  ],
  [
    "a loader that never speaks again",
    { entries: [bound(0, "uefi-pxe-x64"), file(4, "ipxe-x64.efi")], now: 100 },
    "problem",
    "stopped-after-file",
    /^ipxe-x64\.efi was the last file, 96 s ago$/,
  ],
  [
    "kernel fetched, agent never",
    { entries: [bound(0, pi4), piFiles], now: 200, node: node() },
    "problem",
    "kernel-and-no-agent",
    /^kernel and initrd were loaded 3 min ago, and the agent was never asked for$/,
  ],
  [
    "kernel fetched, initrd not",
    { entries: [bound(0, pi4), piFiles.slice(0, -1)], now: 200, node: node() },
    "problem",
    "kernel-without-initrd",
    /the initrd was not/,
  ],
  [
    "agent fetched, never called",
    { entries: [bound(0, pi4), piFiles, bound(30), agentFile], now: 300, node: node() },
    "problem",
    "agent-never-called",
    /^the agent was loaded 4 min ago and never called$/,
  ],
  [
    "its kernel said why",
    {
      entries: [
        bound(0, pi4),
        piFiles,
        says(25, "[ 2.1] Kernel panic - not syncing: VFS: Unable to mount root fs"),
      ],
      now: 60,
      node: node(),
    },
    "problem",
    "said-it-itself",
    /finds no root file system: it says "\[ 2\.1\] Kernel panic/,
  ],
  [
    "enrolment refused",
    {
      entries: [
        bound(0, pi4),
        piFiles,
        agentFile,
        [
          50,
          {
            topic: "enrolment",
            mac: "dc:a6:32:01:36:c2",
            outcome: "refused",
            reason: "no window is open",
          } as never,
        ],
      ],
      now: 60,
      node: node(),
    },
    "problem",
    "enrolment-refused",
    /no window is open/,
  ],
  [
    "held back",
    {
      entries: [bound(0, pi4)],
      now: 9,
      node: node({ quarantined: true, reason: "token used twice" }),
    },
    "problem",
    "held-back",
    /token used twice/,
  ],
  [
    "an agent that stopped calling",
    {
      entries: [bound(0, pi4), piFiles, agentFile],
      now: 900,
      node: node({ agent: agentSession(50, 600) }),
    },
    "problem",
    "agent-silent",
    /called last 5 min ago/,
  ],
  [
    "an agent that stopped calling a moment ago, perhaps to reboot",
    {
      entries: [bound(0, pi4), piFiles, agentFile],
      now: 660,
      node: node({ agent: agentSession(50, 600) }),
    },
    "ok",
    "on-its-way",
    /last heard 60 s ago/,
  ],
  [
    "an agent that calls: how it came there is no news",
    {
      entries: [five, piFiles, agentFile],
      now: 900,
      node: node({ connection: "online", agent: agentSession(60, 895) }),
    },
    "ok",
    "agent-online",
    /netinst.*has called for 14 min/,
  ],
  [
    "a task that failed",
    {
      entries: [
        task(0, { state: "failed", stage: "writing", reason: "disk vda: input/output error" }),
      ],
      now: 9,
      node: node({ connection: "online", agent: agentSession(0, 8) }),
    },
    "problem",
    "task-failed",
    /^its install failed while writing: disk vda/,
  ],
  [
    "a task that runs",
    {
      entries: [
        task(0, { state: "running", stage: "writing", percent: 62.4, stageSince: instantAt(0) }),
      ],
      now: 50,
      node: node({ connection: "online", agent: agentSession(0, 8) }),
    },
    "ok",
    "task-runs",
    /writing, 62 %, since 50 s/,
  ],
  [
    "a boot loop",
    {
      entries: [0, 100, 200, 300].flatMap((at) => [
        bound(at, "bios-pxe"),
        [file(at + 5, "boot/netinst/amd64/kernel")],
      ]),
      now: 310,
    },
    "problem",
    "boot-loop",
    /4 times within half an hour/,
  ],
  [
    "silence that no rule explains",
    { entries: [bound(0, "ipxe-x64"), file(3, "odd.bin")], now: 1000 },
    "problem",
    "silent",
    /no known reason/,
  ],
];

for (const [title, told, severity, code, words] of table) {
  test(title, (t) => {
    const [first] = findingsOf(told);
    t.is(first?.code, code);
    t.is(first?.severity, severity);
    t.regex(first?.text ?? "", words);
  });
}

/** Told beside something else. */
const hints: readonly (readonly [code: string, told: Case])[] = [
  [
    "two-interfaces",
    { entries: [bound(0, pi4), dhcp(2, "discover", "offer", pi4, { interface: "eth2" })], now: 3 },
  ],
  [
    "loaded-again",
    { entries: [bound(0, pi4), [1, 2, 3].map((at) => file(at, "ipxe-x64.efi"))], now: 9 },
  ],
  ["task-waits", { entries: [bound(0, pi4), task(1, { state: "queued" })], now: 9 }],
  ["task-planned", { entries: [bound(0, pi4), task(1, { state: "waiting" })], now: 9 }],
  [
    "late-first-discover",
    { entries: [power(0, "on"), dhcp(33, "discover", "offer", pi4)], now: 36, node: node() },
  ],
  ["another-server", { entries: [bound(0, pi4), [1, rogue]], now: 5 }],
  [
    "gave-up",
    {
      entries: [0, 5, 10, 15, 20].map((at) => dhcp(at, "discover", "unknown-client", pi3)),
      now: 90,
    },
  ],
];
for (const [code, told] of hints) {
  test(`told beside the rest: ${code}`, (t) => {
    t.true(findingsOf(told).some((one) => one.code === code));
  });
}

test("every rule has a code of its own and a recorded sequence it speaks to", (t) => {
  const codes = ruleGroups.flatMap(({ rules }) => rules.map(({ code }) => code));
  const seen = new Set([...table.map((row) => row[3]), ...hints.map(([code]) => code)]);
  t.is(new Set(codes).size, codes.length);
  t.deepEqual(
    codes.filter((code) => !seen.has(code)),
    [],
  );
});

test("every problem comes with what to do", (t) => {
  for (const [, told] of table) {
    for (const { severity, remedy, code } of findingsOf(told)) {
      if (severity === "problem") t.truthy(remedy, code);
    }
  }
});

test("a boot ROM that asked five times has given up", (t) => {
  const codes = findingsOf({
    entries: [0, 5, 10, 15, 20].map((at) => dhcp(at, "discover", "unknown-client", pi3)),
    now: 90,
  }).map(({ code }) => code);
  t.deepEqual(codes, ["unknown-client", "gave-up"]);
});

test("another server on the wire is told as a hint, and not in mode proxy", (t) => {
  const entries = [bound(0, pi4), [1, rogue]] as const;
  const codesIn = (mode: "reservation" | "proxy") =>
    findingsOf({ entries, now: 5, mode }).map(({ code }) => code);
  t.deepEqual(codesIn("reservation"), ["on-its-way", "another-server"]);
  t.deepEqual(codesIn("proxy"), ["on-its-way"]);
});

test("a boot that went well after one that did not is told alone", (t) => {
  const [first] = findingsOf({
    entries: [
      [0, 5, 10, 15].map((at) => dhcp(at, "discover", "unknown-client", pi4)),
      power(100, "off"),
      power(110, "on"),
      bound(118, pi4),
      file(120, "a1b2c3d4/start4.elf"),
    ],
    now: 125,
    node: node(),
  });
  t.is(first?.code, "on-its-way");
});
