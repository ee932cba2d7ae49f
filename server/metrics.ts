/**
 * The server's metrics, in one registry that the admin listener serves at
 * `/metrics` (Prometheus' text format). server/README.md lists each with its labels.
 *
 * What is counted comes from the domain events and from the two packet loops;
 * what is measured is read from the rooms when somebody scrapes. Labels take
 * their values from short, closed lists: nothing a node sends becomes one.
 */

import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import { nodeStates } from "#protocol/node.ts";
import type { HeartbeatMetrics } from "./agent/heartbeat.ts";
import type { DhcpCounts } from "./dhcp/server.ts";
import type { DiscoveryMetrics } from "./discovery/server.ts";
import type { EventBus } from "./events.ts";
import type { BootHttpMetrics } from "./http/boot-listener.ts";
import type { JobMetrics } from "./job/runner.ts";
import type { Nodes } from "./node/nodes.ts";
import type { Store } from "./store/store.ts";
import type { TftpMetrics } from "./tftp/server.ts";

export interface Metrics {
  readonly registry: Registry;
  readonly dhcp: { serve(counts: () => ReadonlyMap<string, DhcpCounts>): void };
  /** Handed to the packet loops. */
  readonly discovery: DiscoveryMetrics;
  readonly heartbeat: HeartbeatMetrics;
  readonly bootHttp: BootHttpMetrics;
  readonly jobs: JobMetrics;
  readonly tftp: TftpMetrics;
  /** Ends the counting of events. */
  close(): void;
}

export interface MetricsContext {
  readonly events: EventBus;
  readonly nodes: Pick<Nodes, "list">;
  readonly store: { readonly tasks: Pick<Store["tasks"], "unfinished"> };
}

/** One registry with everything in it; the process' own metrics (CPU, memory, event loop) too. */
export function createMetrics(context: MetricsContext): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  measureNodes(context, registers);
  measureTasks(context, registers);
  const discovery = new Counter({
    name: "marcoboot_discovery_questions_total",
    help: "Discovery datagrams received, by what came of them",
    labelNames: ["interface", "outcome"],
    registers,
  });
  const heartbeats = new Counter({
    name: "marcoboot_heartbeats_total",
    help: "Heartbeat datagrams received, by what came of them",
    labelNames: ["interface", "outcome"],
    registers,
  });
  const calls = new Counter({
    name: "marcoboot_agent_calls_total",
    help: "Times a node was called because there was an assignment for it",
    labelNames: ["interface"],
    registers,
  });
  const bootConnections = new Counter({
    name: "marcoboot_boot_connections_ended_total",
    help: "Boot HTTP connections ended because there were too many, of one client or in all",
    labelNames: ["reason"],
    registers,
  });
  const superseded = new Counter({
    name: "marcoboot_superseded_total",
    help: "What came too late for its attempt and changed nothing: reports of agents, orders and power commands of the server, queue entries given out again",
    labelNames: ["what"],
    registers,
  });
  for (const what of ["report", "effect", "entry"]) superseded.inc({ what }, 0);
  return {
    registry,
    jobs: { superseded: (what) => superseded.inc({ what }) },
    bootHttp: { connectionEnded: (reason) => bootConnections.inc({ reason }) },
    heartbeat: {
      heard: (name, outcome) => heartbeats.inc({ interface: name, outcome }),
      called: (name) => calls.inc({ interface: name }),
    },
    dhcp: measureDhcp(registers),
    discovery: { question: (name, outcome) => discovery.inc({ interface: name, outcome }) },
    tftp: measureTftp(registers),
    close: countEvents(context.events, registers),
  };
}

/** Counted by the packet loop itself, which has no time for more. */
function measureDhcp(registers: Registry[]): Metrics["dhcp"] {
  let counts: () => ReadonlyMap<string, DhcpCounts> = () => new Map();
  new Counter({
    name: "marcoboot_dhcp_packets_total",
    help: "DHCP packets received, by what came of them: the reply's type or the reason for silence",
    labelNames: ["interface", "outcome"],
    registers,
    collect() {
      this.reset();
      for (const [name, outcomes] of counts()) {
        for (const [outcome, count] of Object.entries(outcomes)) {
          this.inc({ interface: name, outcome }, count);
        }
      }
    },
  });
  return {
    serve(from) {
      counts = from;
    },
  };
}

/** The engines count by themselves; their numbers are read when somebody scrapes. */
function measureTftp(registers: Registry[]): TftpMetrics {
  type Counts = Parameters<TftpMetrics["serve"]>[1];
  const served = new Map<string, Counts>();
  const labels = ["interface"] as const;
  new Gauge({
    name: "marcoboot_tftp_transfers",
    help: "TFTP transfers that run",
    labelNames: labels,
    registers,
    collect() {
      for (const [name, counts] of served) this.set({ interface: name }, counts().transfers);
    },
  });
  new Counter({
    name: "marcoboot_tftp_datagrams_total",
    help: "TFTP datagrams: received, sent, of these sent again (repeated), refused by the kernel",
    labelNames: [...labels, "kind"],
    registers,
    collect() {
      this.reset();
      for (const [name, counts] of served) {
        const { received, datagrams: sent, repeated, refused } = counts();
        for (const [kind, count] of Object.entries({ received, sent, repeated, refused })) {
          this.inc({ interface: name, kind }, count);
        }
      }
    },
  });
  new Counter({
    name: "marcoboot_tftp_send_calls_total",
    help: "System calls the sent TFTP datagrams took",
    labelNames: labels,
    registers,
    collect() {
      this.reset();
      for (const [name, counts] of served) this.inc({ interface: name }, counts().calls);
    },
  });
  new Counter({
    name: "marcoboot_tftp_requests_dropped_total",
    help: "TFTP requests that got no answer, by reason",
    labelNames: [...labels, "reason"],
    registers,
    collect() {
      this.reset();
      for (const [name, counts] of served) {
        const { malformed, lowPort, unknown, tooMany } = counts();
        this.inc({ interface: name, reason: "malformed" }, malformed);
        this.inc({ interface: name, reason: "low-port" }, lowPort);
        this.inc({ interface: name, reason: "unknown-peer" }, unknown);
        this.inc({ interface: name, reason: "too-many" }, tooMany);
      }
    },
  });
  return { serve: (name, counts) => void served.set(name, counts) };
}

/** Looked at once for all four: ten thousand nodes are read from the journal. */
function measureNodes({ nodes }: MetricsContext, registers: Registry[]): void {
  new Gauge({
    name: "marcoboot_nodes",
    help: "Nodes by state",
    labelNames: ["state"],
    registers,
    collect() {
      const all = nodes.list();
      for (const state of nodeStates) {
        this.set({ state }, all.filter((node) => node.state === state).length);
      }
      online.set(all.filter((node) => node.connection === "online").length);
      quarantined.set(all.filter((node) => node.quarantined).length);
      const disks = all.flatMap(({ hardware }) => hardware?.disks ?? []);
      failing.set(disks.filter(({ health }) => health?.passed === false).length);
    },
  });
  const online = new Gauge({
    name: "marcoboot_nodes_online",
    help: "Nodes whose agent calls",
    registers,
  });
  const quarantined = new Gauge({
    name: "marcoboot_nodes_quarantined",
    help: "Nodes held back until an admin approves them",
    registers,
  });
  const failing = new Gauge({
    name: "marcoboot_disks_failing",
    help: "Disks that expect to fail, by their own word",
    registers,
  });
}

function measureTasks({ store }: MetricsContext, registers: Registry[]): void {
  new Gauge({
    name: "marcoboot_tasks",
    help: "Unfinished tasks by state",
    labelNames: ["state"],
    registers,
    collect() {
      const tasks = store.tasks.unfinished();
      for (const state of ["queued", "running"]) {
        this.set({ state }, tasks.filter((task) => task.state === state).length);
      }
    },
  });
}

/** @returns the function that ends the counting. */
function countEvents(events: EventBus, registers: Registry[]): () => void {
  const tasks = new Counter({
    name: "marcoboot_tasks_finished_total",
    help: "Tasks that ended, by kind and how",
    labelNames: ["kind", "state"],
    registers,
  });
  const bootFiles = new Counter({
    name: "marcoboot_boot_files_total",
    help: "Boot files and images asked for, by protocol and outcome",
    labelNames: ["protocol", "outcome"],
    registers,
  });
  const bootBytes = new Counter({
    name: "marcoboot_boot_bytes_total",
    help: "Octets of boot files and images sent, those of aborted transfers too",
    labelNames: ["protocol"],
    registers,
  });
  const enrolments = new Counter({
    name: "marcoboot_enrolments_total",
    help: "Requests to enrol, accepted or refused",
    labelNames: ["outcome"],
    registers,
  });
  const power = new Counter({
    name: "marcoboot_power_switches_total",
    help: "Slots whose power was switched: on, off, failed",
    labelNames: ["outcome"],
    registers,
  });
  const alarms = new Counter({
    name: "marcoboot_alarms_total",
    help: "Alarms raised: refused enrolments, other DHCP servers",
    registers,
  });
  const netconsole = new Counter({
    name: "marcoboot_netconsole_lines_total",
    help: "Lines that nodes said over netconsole",
    registers,
  });
  const rogueServers = new Counter({
    name: "marcoboot_rogue_servers_total",
    help: "Answers heard of other DHCP servers, by kind",
    labelNames: ["kind"],
    registers,
  });
  // A series that begins at zero shows its first increase; one that begins at one does not.
  for (const outcome of ["accepted", "refused"]) enrolments.inc({ outcome }, 0);
  for (const protocol of ["tftp", "http"]) bootBytes.inc({ protocol }, 0);

  return events.subscribe((event) => {
    switch (event.topic) {
      case "task": {
        const { kind, state } = event.task;
        if (state !== "queued" && state !== "running") tasks.inc({ kind, state });
        return;
      }
      case "boot-file": {
        const { protocol, outcome, bytes } = event;
        bootFiles.inc({ protocol, outcome });
        bootBytes.inc({ protocol }, bytes);
        return;
      }
      case "enrolment":
        return enrolments.inc({ outcome: event.outcome });
      case "power":
        return power.inc({ outcome: event.ok ? event.state : "failed" });
      case "netconsole":
        return netconsole.inc(event.lines.length);
      case "rogue-server":
        return rogueServers.inc({ kind: event.kind });
      case "alarm":
        return alarms.inc();
      default: // the others are not counted
    }
  });
}
