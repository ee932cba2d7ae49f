/**
 * A journal whose server dies at one of its writes: at the `at`-th durable change, either
 * before it is on the disk or right after. From then on nothing works, as for a killed process.
 */

import { UnavailableError } from "../../server/errors.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import type { Store } from "../../server/store/store.ts";

export class Killed extends Error {}

export interface Death {
  /** Counted from 1, over all stores that share this object. */
  readonly at: number;
  /** `refused`: it lives on, and the disk took everything but that one. */
  readonly when: "before" | "after" | "refused";
  /** Durable changes so far. */
  count: number;
}

/** Methods of the tables that write; every other one only reads. */
const writes = new Set([
  "put",
  "delete",
  "append",
  "appendLog",
  "burn",
  "deleteExpired",
  "replace",
]);

/** @param path - of the journal; it can be opened again once the store is closed */
export function openMortalStore(path: string, death: Death): Store {
  const store = openSqliteStore(path);
  let isDead = false;
  let depth = 0;

  const die = (): never => {
    isDead = true;
    throw new Killed(`killed ${death.when} change ${death.at}`);
  };
  /** One change that is on the disk as a whole or not at all. */
  function change<T>(work: () => T): T {
    if (isDead) throw new Killed("dead already");
    if (depth > 0) return work();
    death.count += 1;
    const isLast = death.count === death.at;
    if (isLast && death.when === "refused") {
      throw new UnavailableError("the journal cannot be written: database or disk is full");
    }
    depth += 1;
    try {
      if (!isLast) return store.transaction(work);
      if (death.when === "after") store.transaction(work);
      else
        store.transaction(() => {
          work();
          die();
        });
      return die();
    } finally {
      depth -= 1;
    }
  }
  const tableOf = (table: object) =>
    new Proxy(table, {
      get(target, name) {
        const method: unknown = Reflect.get(target, name);
        if (typeof method !== "function") return method;
        return (...values: readonly unknown[]) => {
          const call = () => Reflect.apply(method, target, values);
          if (writes.has(String(name))) return change(call);
          if (isDead) throw new Killed("dead already");
          return call();
        };
      },
    });
  return new Proxy(store, {
    get(target, name) {
      if (name === "transaction")
        return (...args: Parameters<Store["transaction"]>) =>
          change(() => store.transaction(...args));
      const member: unknown = Reflect.get(target, name);
      return typeof member === "object" && member !== null ? tableOf(member) : member;
    },
  });
}
