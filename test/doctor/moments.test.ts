import test from "ava";
import { momentsOf } from "../../server/doctor/moments.ts";
import {
  agentSession,
  bound,
  dhcp,
  type Entries,
  file,
  instantAt,
  node,
  power,
  says,
  stored,
  task,
} from "./recording.ts";

function textsOf(...entries: Entries): readonly string[] {
  return momentsOf(stored(...entries)).map(
    ({ source, text, times, isFault }) =>
      `${isFault ? "! " : ""}${source}: ${text}${times > 1 ? ` x${times}` : ""}`,
  );
}

test("a boot from power-on to the agent, line by line", (t) => {
  const online = node({ connection: "online", agent: agentSession(60, 60) });
  t.deepEqual(
    textsOf(
      power(0, "on"),
      dhcp(5, "discover", "offer", "raspberry-pi-4"),
      dhcp(6, "request", "ack", "raspberry-pi-4"),
      file(7, "a1b2c3d4/start4.elf", "sent", 2_250_000),
      file(8, "a1b2c3d4/recovery.elf", "not-found"),
      file(8, "a1b2c3d4/dt-blob.bin", "not-found"),
      file(9, "a1b2c3d4/kernel8.img", "aborted", 500_000),
      says(10, "Booting Linux"),
      [50, { topic: "enrolment", mac: online.mac, outcome: "accepted" }],
      [51, { topic: "node", node: node() }],
      [60, { topic: "node", node: online }],
      [75, { topic: "node", node: { ...online, updatedAt: instantAt(75) } }],
      task(80, { state: "running", stage: "writing", percent: 1 }),
      task(81, { state: "running", stage: "writing", percent: 2 }),
      task(90, { state: "failed", stage: "writing", reason: "disk full" }),
    ),
    [
      "power: outlet on",
      "dhcp: DISCOVER (raspberry-pi-4): OFFER 10.77.0.11",
      "dhcp: REQUEST (raspberry-pi-4): ACK 10.77.0.11",
      "file: got a1b2c3d4/start4.elf by tftp (2.3 MB)",
      "file: asked for a file that need not be there x2",
      "! file: a1b2c3d4/kernel8.img broke off after 500 kB (tftp)",
      "netconsole: Booting Linux",
      "agent: enrolment accepted",
      "agent: agent calls (netinst 1)",
      "task: install writing x2",
      "! task: install failed: disk full",
    ],
  );
});

test("what the rules made of a node, and what its machine has lost, is in its time line", (t) => {
  const text = "rule usual installs debian-12 on vda";
  const ruled = node({ rule: { name: "usual", text, at: instantAt(10) } });
  const changes = [
    { text: "disk sda (S1, 480.0 GB) is gone", isLoss: true },
    { text: "BIOS 1 is now 2", isLoss: false },
  ];
  t.deepEqual(
    textsOf(
      [10, { topic: "node", node: ruled }],
      [20, { topic: "node", node: { ...ruled, updatedAt: instantAt(20) } }],
      [30, { topic: "hardware", nodeId: ruled.id, mac: ruled.mac, changes }],
    ),
    [`task: ${text}`, "! agent: disk sda (S1, 480.0 GB) is gone", "agent: BIOS 1 is now 2"],
  );
});

test("a question for the size is told only where nothing follows it", (t) => {
  t.deepEqual(
    textsOf(file(0, "ipxe.efi", "aborted", 0), file(1, "ipxe.efi"), file(2, "x.efi", "aborted", 0)),
    ["file: got ipxe.efi by tftp (1 kB)", "file: asked for x.efi by tftp and stopped at once"],
  );
});

test("what is said again at once is one moment with its last time", (t) => {
  const moments = momentsOf(
    stored([0, 5, 10].map((at) => dhcp(at, "discover", "unknown-client", "raspberry-pi-3"))),
  );
  t.deepEqual(moments, [
    {
      at: instantAt(0),
      until: instantAt(10),
      times: 3,
      source: "dhcp",
      text: "DISCOVER (raspberry-pi-3): no answer (unknown-client)",
      isFault: true,
    },
  ]);
});

test("a lease that is offered and bound is told by its messages alone", (t) => {
  const lease = { topic: "lease", mac: node().mac, address: "10.77.0.11" as never } as const;
  t.deepEqual(
    textsOf(
      bound(0, "bios-pxe"),
      [0, { ...lease, state: "bound" }],
      [9, { ...lease, state: "declined" }],
    ),
    [
      "dhcp: DISCOVER (bios-pxe): OFFER 10.77.0.11",
      "dhcp: REQUEST (bios-pxe): ACK 10.77.0.11",
      "! dhcp: lease of 10.77.0.11 declined",
    ],
  );
});
