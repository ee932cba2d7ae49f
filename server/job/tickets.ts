/**
 * Image tickets: let one node fetch one image during one attempt. Derived, not
 * stored: a restarted server knows the ticket it gave before, and a new
 * attempt's ticket makes the old one worthless.
 */

import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { ImageDigest } from "#protocol/brand.ts";
import type { Task } from "#protocol/job.ts";
import type { Store } from "../store/store.ts";

export interface Tickets {
  ticketFor(task: Task, digest: ImageDigest): string;
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
  const ticketFor = (task: Task, digest: ImageDigest) =>
    createHmac("sha256", key)
      .update(`marcoboot image ticket 1\n${task.id}\n${task.epoch}\n${digest}`)
      .digest("base64url");
  return {
    ticketFor,
    matches(ticket, task, digest) {
      const expected = Buffer.from(ticketFor(task, digest));
      const given = Buffer.from(ticket);
      return given.length === expected.length && timingSafeEqual(given, expected);
    },
  };
}
