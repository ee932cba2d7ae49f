/** Which events become a notice, and in what words. */

import type { Instant } from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import type { Job, Task, TaskState } from "#protocol/job.ts";
import type { Notice } from "#protocol/notice.ts";
import type { Store } from "../store/store.ts";

const namedAtMost = 20; // nodes of one notice; the rest is counted
const day = 86_400_000; // ms

/** Undefined for what nobody needs to be told. */
export function noticeOf(
  event: DomainEvent,
  at: Instant,
  store: Pick<Store, "nodes" | "tasks">,
): Notice | undefined {
  switch (event.topic) {
    case "job":
      return noticeOfJob(event.job, at, store);
    case "rogue-server": {
      const { kind, address, interface: name, mac, offered } = event;
      const what = kind === "dhcp" ? "DHCP server" : "ProxyDHCP server";
      return {
        occasion: "rogue-server",
        key: `rogue-server ${name} ${kind} ${address} ${Math.floor(at / day)}`,
        at,
        subject: `another ${what} answers on ${name}: ${address}`,
        text: [
          `${address}${mac ? ` (${mac})` : ""} answered as ${what}${offered ? ` and offered ${offered}` : ""}.`,
          "Nodes may boot from it instead. Find the port by its hardware address and switch it off,",
          "or set the subnet's mode to proxy if it is meant to give the addresses.",
        ].join("\n"),
      };
    }
    case "alarm":
      return {
        occasion: "alarm",
        key: `alarm ${Math.floor(at / day)} ${event.text}`,
        at,
        subject: event.text,
        text: `${event.text}\n\nmarcoboot event list tells what came before.`,
      };
    default:
      return undefined;
  }
}

function noticeOfJob(
  job: Job,
  at: Instant,
  store: Pick<Store, "nodes" | "tasks">,
): Notice | undefined {
  if (job.endedAt === undefined) {
    if (job.paused?.by !== "server") return undefined; // whoever paused it knows
    return {
      occasion: "job-paused",
      key: `job-paused ${job.id} ${job.paused.at}`,
      at,
      subject: `${titleOf(job)} is paused: ${job.paused.reason}`,
      text: [
        summaryOf(job, store),
        `Look at the nodes, then: marcoboot job resume ${job.id}, or: marcoboot job cancel ${job.id}`,
      ].join("\n\n"),
    };
  }
  if (job.state === "cancelled") return undefined; // somebody did that
  if (job.healthOf !== undefined) return undefined; // what it found is told with that job
  const failed = job.state === "failed";
  return {
    occasion: failed ? "job-failed" : "job-done",
    key: `job-ended ${job.id}`,
    at,
    subject: `${titleOf(job)} ${failed ? "failed" : "is done"}`,
    text: [
      summaryOf(job, store),
      ...(failed ? [`The nodes that failed, once more: marcoboot job retry ${job.id}`] : []),
    ].join("\n\n"),
  };
}

function titleOf({ kind, id, selector, schedule }: Job): string {
  return `${kind} of ${selector}${schedule ? ` by schedule ${schedule}` : ""} (${id})`;
}

/** How many ended how, and why for those that did not end well. */
function summaryOf({ id }: Job, { nodes, tasks }: Pick<Store, "nodes" | "tasks">): string {
  const all = tasks.ofJob(id);
  const counts = new Map<TaskState, number>();
  for (const { state } of all) counts.set(state, (counts.get(state) ?? 0) + 1);
  const failed = all.filter(({ state }) => state === "failed");
  const nameOf = ({ nodeId }: Task) => nodes.get(nodeId)?.name ?? nodeId;
  return [
    `${all.length} nodes: ${[...counts].map(([state, count]) => `${count} ${state}`).join(", ")}`,
    ...failed.slice(0, namedAtMost).map((task) => `  ${nameOf(task)}: ${task.reason ?? "failed"}`),
    ...(failed.length > namedAtMost ? [`  and ${failed.length - namedAtMost} more`] : []),
  ].join("\n");
}
