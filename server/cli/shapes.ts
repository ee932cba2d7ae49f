/** What the API answers, as far as the command line reads it. The server checked it; here it is only named. */

import type { StoredEvent } from "#protocol/events.ts";
import type { Image } from "#protocol/image.ts";
import type { Job, Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";

export interface Page<Item> {
  readonly items: readonly Item[];
  readonly next?: string;
}

export type JobWithTasks = Job & { readonly tasks: readonly Task[] };
export type { Image, Job, Node, StoredEvent, Task };

export function timeText(at: number | undefined): string {
  return at === undefined ? "-" : new Date(at).toISOString().slice(0, 19).replace("T", " ");
}
