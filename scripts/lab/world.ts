/** What the server says is so, kept up to date from its event stream; the laboratory waits on it, never sleeps. */

import type { DomainEvent } from "#protocol/events.ts";
import type { Job, Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import type { Api } from "./api.ts";

export interface World {
  readonly nodes: ReadonlyMap<string, Node>; // by MAC address
  readonly jobs: ReadonlyMap<string, Job>;
  readonly tasks: ReadonlyMap<string, Task>;
  /** Octets sent to a MAC address by boot listeners so far. */
  bytesTo(mac: string, protocol: "tftp" | "http"): number;
  /**
   * Resolves when `condition` gives a value; asked again after every event and once a second.
   *
   * @throws Error naming `what` after `withinMs`, or what `condition` throws.
   */
  until<T>(what: string, withinMs: number, condition: () => T | undefined): Promise<T>;
  close(): void;
}

export function watchWorld(api: Api, onEvent: (event: DomainEvent) => void = () => {}): World {
  const nodes = new Map<string, Node>();
  const jobs = new Map<string, Job>();
  const tasks = new Map<string, Task>();
  const bytes = new Map<string, number>();
  const askers = new Set<() => void>();

  const take = (event: DomainEvent) => {
    if (event.topic === "node") nodes.set(event.node.mac, event.node);
    if (event.topic === "job") jobs.set(event.job.id, event.job);
    if (event.topic === "task") tasks.set(event.task.id, event.task);
    if (event.topic === "boot-file") {
      const mac =
        event.mac ?? [...nodes.values()].find((one) => one.address === event.address)?.mac;
      const key = `${event.protocol} ${mac}`;
      bytes.set(key, (bytes.get(key) ?? 0) + event.bytes);
    }
    onEvent(event);
    for (const ask of [...askers]) ask();
  };
  const stop = api.follow(0, ({ event }) => take(event));

  return {
    nodes,
    jobs,
    tasks,
    bytesTo: (mac, protocol) => bytes.get(`${protocol} ${mac}`) ?? 0,
    until: (what, withinMs, condition) =>
      new Promise((resolve, reject) => {
        const end = () => {
          clearTimeout(late);
          clearInterval(tick);
          askers.delete(ask);
        };
        const ask = () => {
          try {
            const value = condition();
            if (value === undefined) return;
            end();
            resolve(value);
          } catch (error) {
            end();
            reject(error);
          }
        };
        const late = setTimeout(() => {
          end();
          reject(new Error(`${what}: not within ${Math.round(withinMs / 1000)} s`));
        }, withinMs);
        const tick = setInterval(ask, 1000);
        askers.add(ask);
        ask();
      }),
    close: stop,
  };
}
