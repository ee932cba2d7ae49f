/**
 * Image tickets: let one node fetch one image during one attempt. Derived, not
 * stored: a restarted server knows the ticket it gave before, and a new
 * attempt's ticket makes the old one worthless. It begins with its task: `task_….<tag>`.
 */

import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { ImageDigest, TaskId } from "#protocol/brand.ts";
import type { Task } from "#protocol/job.ts";
import type { Store } from "../store/store.ts";

export interface Tickets {
  ticketFor(task: Task, digest: ImageDigest): string;
  /** The task it says it is of; nothing is checked. */
  taskOf(ticket: string): TaskId;
  matches(ticket: string, task: Task, digest: ImageDigest): boolean;
}

const keyName = "image-ticket-key";

export function createTickets(store: Store): Tickets {
  const key = store.transaction(() => {
    const kept = store.settings.get(keyName);
    if (kept !== undefined) return Buffer.from(kept, "hex");
    const made = randomBytes(32);
    store.settings.put(keyName, made.toString("hex"));
    return made;
  });
  const ticketFor = (task: Task, digest: ImageDigest) => {
    const text = `marcoboot image ticket 1\n${task.id}\n${task.epoch}\n${digest}`;
    return `${task.id}.${createHmac("sha256", key).update(text).digest("base64url")}`;
  };
  return {
    ticketFor,
    taskOf: (ticket) => ticket.slice(0, Math.max(0, ticket.lastIndexOf("."))) as TaskId,
    matches(ticket, task, digest) {
      const expected = Buffer.from(ticketFor(task, digest));
      const given = Buffer.from(ticket);
      return given.length === expected.length && timingSafeEqual(given, expected);
    },
  };
}
