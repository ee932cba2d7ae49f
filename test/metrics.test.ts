import test, { type ExecutionContext } from "ava";
import { type Instant, type NodeId, parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import type { Task, TaskState } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { createEventBus } from "../server/events.ts";
import { silentLog } from "../server/log.ts";
import { createMetrics } from "../server/metrics.ts";
import { startTestServer, tokens } from "./http/support.ts";

const mac = parseMacAddress("dc:a6:32:00:00:01");
const address = parseIpv4Address("10.77.0.5");
const slot = { rack: "lab", stack: "a", slot: "1" };

function taskIn(state: TaskState): Task {
  return { id: `task_${state}`, kind: "install", state } as unknown as Task;
}

function nodeIn(change: Partial<Node>): Node {
  const at = 0 as Instant;
  const id = "node_1" as NodeId;
  const axes = { state: "ready", quarantined: false, power: "on", connection: "offline" } as const;
  return { id, name: "a1", mac, ...axes, createdAt: at, updatedAt: at, ...change };
}

function setUp(t: ExecutionContext, rooms: { nodes?: readonly Node[]; tasks?: readonly Task[] }) {
  const events = createEventBus(silentLog);
  const metrics = createMetrics({
    events,
    nodes: { list: () => rooms.nodes ?? [] },
    store: { tasks: { unfinished: () => rooms.tasks ?? [] } },
  });
  t.teardown(() => metrics.close());
  /** The scraped lines of one metric, without its name. */
  const scraped = async (name: string) =>
    (await metrics.registry.metrics())
      .split("\n")
      .filter((line) => new RegExp(`^${name}[ {]`).test(line))
      .map((line) => line.slice(name.length).trim());
  return { events, metrics, scraped };
}

test("packets are counted by interface and outcome", async (t) => {
  const { metrics, scraped } = setUp(t, {});
  metrics.dhcp.serve(() => new Map([["eth1", { offer: 2, malformed: 1 }]]));
  metrics.discovery.question("eth1", "answered");
  t.deepEqual(await scraped("marcoboot_dhcp_packets_total"), [
    '{interface="eth1",outcome="offer"} 2',
    '{interface="eth1",outcome="malformed"} 1',
  ]);
  t.deepEqual(await scraped("marcoboot_discovery_questions_total"), [
    '{interface="eth1",outcome="answered"} 1',
  ]);
});

const file = { topic: "boot-file", address, mac, name: "kernel" } as const;
const counted: readonly [title: string, events: readonly DomainEvent[], name: string, string[]][] =
  [
    [
      "boot files are counted by protocol and outcome",
      [
        { ...file, protocol: "tftp", bytes: 10, outcome: "sent" },
        { ...file, protocol: "http", bytes: 0, outcome: "not-found" },
      ],
      "marcoboot_boot_files_total",
      ['{protocol="tftp",outcome="sent"} 1', '{protocol="http",outcome="not-found"} 1'],
    ],
    [
      "octets of aborted transfers count too",
      [
        { ...file, protocol: "http", bytes: 1000, outcome: "sent" },
        { ...file, protocol: "http", bytes: 24, outcome: "aborted" },
      ],
      "marcoboot_boot_bytes_total",
      ['{protocol="tftp"} 0', '{protocol="http"} 1024'],
    ],
    [
      "enrolments are counted by outcome, from zero",
      [{ topic: "enrolment", mac, outcome: "refused", reason: "held back" }],
      "marcoboot_enrolments_total",
      ['{outcome="accepted"} 0', '{outcome="refused"} 1'],
    ],
    [
      "a task is counted when it ends, not before",
      (["queued", "running", "done"] as const).map((state) => ({
        topic: "task",
        task: taskIn(state),
      })),
      "marcoboot_tasks_finished_total",
      ['{kind="install",state="done"} 1'],
    ],
    [
      "switched slots are counted, and those that failed",
      [
        { topic: "power", slot, state: "on", ok: true },
        { topic: "power", slot, state: "unknown", ok: false, reason: "no answer" },
      ],
      "marcoboot_power_switches_total",
      ['{outcome="on"} 1', '{outcome="failed"} 1'],
    ],
    [
      "alarms are counted",
      [{ topic: "alarm", text: "another DHCP server" }],
      "marcoboot_alarms_total",
      ["1"],
    ],
  ];
for (const [title, published, name, expected] of counted) {
  test(title, async (t) => {
    const { events, scraped } = setUp(t, {});
    for (const event of published) events.publish(event);
    t.deepEqual(await scraped(name), expected);
  });
}

test("nodes and their disks are measured at the scrape, the states without nodes as zero", async (t) => {
  const disk = { name: "sda", sizeBytes: 1, removable: false };
  const disks = [disk, { ...disk, health: { passed: false } }];
  const hardware = { model: "m", cpus: 1, memoryMiB: 1, disks, interfaces: [] };
  const nodes = [
    nodeIn({ connection: "online", hardware }),
    nodeIn({ quarantined: true }),
    nodeIn({ state: "failed" }),
  ];
  const { scraped } = setUp(t, { nodes });
  t.deepEqual(await scraped("marcoboot_nodes"), [
    '{state="discovered"} 0',
    '{state="enrolled"} 0',
    '{state="ready"} 2',
    '{state="installing"} 0',
    '{state="installed"} 0',
    '{state="failed"} 1',
    '{state="retired"} 0',
  ]);
  t.deepEqual(await scraped("marcoboot_nodes_online"), ["1"]);
  t.deepEqual(await scraped("marcoboot_nodes_quarantined"), ["1"]);
  t.deepEqual(await scraped("marcoboot_disks_failing"), ["1"]);
});

test("unfinished tasks are measured by state", async (t) => {
  const { scraped } = setUp(t, { tasks: [taskIn("queued"), taskIn("queued"), taskIn("running")] });
  t.deepEqual(await scraped("marcoboot_tasks"), ['{state="queued"} 2', '{state="running"} 1']);
});

test("the process' own metrics are there", async (t) => {
  const { scraped } = setUp(t, {});
  t.is((await scraped("process_resident_memory_bytes")).length, 1);
});

test("nothing is counted after the end", async (t) => {
  const { events, metrics, scraped } = setUp(t, {});
  metrics.close();
  events.publish({ topic: "alarm", text: "late" });
  t.deepEqual(await scraped("marcoboot_alarms_total"), ["0"]);
});

test("a viewer scrapes /metrics in Prometheus' text format; a stranger does not", async (t) => {
  const server = await startTestServer();
  t.teardown(() => server.close());
  const answer = await server.fetch("/metrics", { token: tokens.viewer });
  t.regex(answer.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
  t.regex(await answer.text(), /^marcoboot_nodes\{state="ready"\} \d+$/m);
  t.is((await server.fetch("/metrics")).status, 401);
});

test("TFTP's own counts are read at each scrape", async (t) => {
  const { metrics, scraped } = setUp(t, {});
  const counts = {
    ...{ received: 10, datagrams: 20, repeated: 1, refused: 2, calls: 5, transfers: 3 },
    ...{ malformed: 1, lowPort: 2, unknown: 3, tooMany: 4 },
  };
  metrics.tftp.serve("lan0", () => counts);
  t.deepEqual(await scraped("marcoboot_tftp_transfers"), ['{interface="lan0"} 3']);
  await scraped("marcoboot_tftp_send_calls_total");
  counts.calls = 6;
  t.deepEqual(await scraped("marcoboot_tftp_send_calls_total"), ['{interface="lan0"} 6']);
  t.deepEqual(await scraped("marcoboot_tftp_datagrams_total"), [
    '{interface="lan0",kind="received"} 10',
    '{interface="lan0",kind="sent"} 20',
    '{interface="lan0",kind="repeated"} 1',
    '{interface="lan0",kind="refused"} 2',
  ]);
  t.deepEqual(await scraped("marcoboot_tftp_requests_dropped_total"), [
    '{interface="lan0",reason="malformed"} 1',
    '{interface="lan0",reason="low-port"} 2',
    '{interface="lan0",reason="unknown-peer"} 3',
    '{interface="lan0",reason="too-many"} 4',
  ]);
});
