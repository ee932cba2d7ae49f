/**
 * What the server knows, as signals: a snapshot, then one domain event after
 * the other. Knows nothing of the browser, so that ava tests it.
 */

import { computed, type ReadonlySignal, signal } from "@preact/signals";
import type { DomainEvent, StoredEvent } from "#protocol/events.ts";
import type { Image } from "#protocol/image.ts";
import type { Job, Task } from "#protocol/job.ts";
import { type Node, type SlotRef, slotText } from "#protocol/node.ts";
import type { Rack, Stack } from "#protocol/rack.ts";
import { type Activity, activityOf } from "./activity.ts";

export interface Snapshot {
  readonly lastEventId: number;
  /** The server's clock, milliseconds since 1970. */
  readonly now: number;
  readonly racks: readonly Rack[];
  readonly nodes: readonly Node[];
  readonly jobs: readonly Job[];
  readonly tasks: readonly Task[];
  readonly images: readonly Image[];
}

export interface Tile {
  readonly slot: SlotRef;
  /** The node's name, or the host name its slot will give. */
  readonly name: string;
  readonly node?: Node;
  /** Its unfinished task. */
  readonly task?: Task;
}

export interface Site {
  readonly racks: ReadonlySignal<readonly Rack[]>;
  readonly nodes: ReadonlySignal<ReadonlyMap<string, Node>>;
  /** Newest first. */
  readonly jobs: ReadonlySignal<readonly Job[]>;
  readonly tasks: ReadonlySignal<ReadonlyMap<string, Task>>;
  readonly images: ReadonlySignal<readonly Image[]>;
  /** Newest first. */
  readonly activity: ReadonlySignal<readonly Activity[]>;
  /** Last line of the learning that runs. */
  readonly learning: ReadonlySignal<string | undefined>;
  /** Lines that came since the page was opened, by task. */
  readonly logs: ReadonlySignal<ReadonlyMap<string, readonly string[]>>;
  readonly tilesOf: (rack: Rack, stack: Stack) => readonly Tile[];
  /** Nodes in no slot of any rack. */
  readonly unplaced: ReadonlySignal<readonly Node[]>;
  readonly lastEventId: ReadonlySignal<number>;
  /** The event that came last. */
  readonly news: ReadonlySignal<StoredEvent | undefined>;
  load(snapshot: Snapshot): void;
  /** Shows a rack that was just changed here. */
  keepRack(rack: Rack): void;
  keepImages(images: readonly Image[]): void;
  apply(stored: StoredEvent): void;
}

const maxJobs = 50;
const maxActivity = 60;
const maxLogLines = 500;

export function createSite(): Site {
  const racks = signal<readonly Rack[]>([]);
  const nodes = signal<ReadonlyMap<string, Node>>(new Map());
  const jobs = signal<readonly Job[]>([]);
  const tasks = signal<ReadonlyMap<string, Task>>(new Map());
  const images = signal<readonly Image[]>([]);
  const activity = signal<readonly Activity[]>([]);
  const learning = signal<string | undefined>(undefined);
  const logs = signal<ReadonlyMap<string, readonly string[]>>(new Map());
  const lastEventId = signal(0);
  const news = signal<StoredEvent | undefined>(undefined);

  const bySlot = computed(
    () =>
      new Map(
        [...nodes.value.values()].flatMap((node) =>
          node.slot ? [[slotText(node.slot), node]] : [],
        ),
      ),
  );
  const taskOfNode = computed(() => {
    const unfinished = [...tasks.value.values()].filter(isUnfinished);
    return new Map(unfinished.toSorted(byAge).map((task) => [String(task.nodeId), task]));
  });

  const changes: {
    [Topic in DomainEvent["topic"]]?: (event: Extract<DomainEvent, { topic: Topic }>) => void;
  } = {
    node: ({ node }) => {
      nodes.value = new Map(nodes.value).set(node.id, node);
    },
    job: ({ job }) => {
      const others = jobs.value.filter((one) => one.id !== job.id);
      jobs.value = [...others, job].toSorted((a, b) => b.createdAt - a.createdAt).slice(0, maxJobs);
    },
    task: ({ task }) => {
      tasks.value = new Map(tasks.value).set(task.id, task);
    },
    "task-log": ({ taskId, lines }) => {
      const before = logs.value.get(taskId) ?? [];
      logs.value = new Map(logs.value).set(taskId, [...before, ...lines].slice(-maxLogLines));
    },
    learning: ({ state, text }) => {
      learning.value = state === "running" ? text : undefined;
    },
  };

  return {
    racks,
    nodes,
    jobs,
    tasks,
    images,
    activity,
    learning,
    logs,
    lastEventId,
    news,
    unplaced: computed(() => {
      const slots = new Set(
        racks.value.flatMap((rack) =>
          rack.stacks.flatMap((stack) =>
            stack.slots.map((slot) =>
              slotText({ rack: rack.name, stack: stack.name, slot: slot.name }),
            ),
          ),
        ),
      );
      return [...nodes.value.values()].filter(
        (node) => !node.slot || !slots.has(slotText(node.slot)),
      );
    }),
    tilesOf: (rack, stack) =>
      stack.slots.map((slot) => {
        const ref = { rack: rack.name, stack: stack.name, slot: slot.name };
        const node = bySlot.value.get(slotText(ref));
        const task = node && taskOfNode.value.get(node.id);
        return {
          slot: ref,
          name: node?.name ?? slot.hostname,
          ...(node && { node }),
          ...(task && { task }),
        };
      }),
    load(snapshot) {
      racks.value = snapshot.racks;
      nodes.value = new Map(snapshot.nodes.map((node) => [node.id, node]));
      jobs.value = snapshot.jobs;
      tasks.value = new Map(snapshot.tasks.map((task) => [task.id, task]));
      images.value = snapshot.images;
      lastEventId.value = snapshot.lastEventId;
    },
    keepRack(rack) {
      const others = racks.value.filter(({ name }) => name !== rack.name);
      racks.value = [...others, rack].toSorted((a, b) => (a.name < b.name ? -1 : 1));
    },
    keepImages(found) {
      images.value = found;
    },
    apply(stored) {
      if (stored.id <= lastEventId.value) return; // sent again after a reconnection
      lastEventId.value = stored.id;
      const change = changes[stored.event.topic] as ((event: DomainEvent) => void) | undefined;
      change?.(stored.event);
      const line = activityOf(stored);
      if (line) activity.value = [line, ...activity.value].slice(0, maxActivity);
      news.value = stored;
    },
  };
}

export function isUnfinished(task: Task): boolean {
  return task.state === "queued" || task.state === "running";
}

function byAge(a: Task, b: Task): number {
  return b.createdAt - a.createdAt; // the oldest last: it wins the map
}
