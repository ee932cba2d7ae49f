/** Who did what to which thing, and when. Written before the deed is acknowledged; never a secret. */

import type { Clock } from "../clock.ts";
import type { AuditEntry, Store } from "../store/store.ts";

export interface Audit {
  /**
   * @param who - user name, `node:<id>`, or `server`
   * @param what - a verb phrase that stays the same for the same deed: `job created`
   * @param target - id or name of the thing
   */
  append(who: string, what: string, target: string, detail?: string): void;
  /** Newest first. `before`: id of the last entry of the previous page. */
  list(page: { readonly limit: number; readonly before?: number }): readonly AuditEntry[];
}

/** Detail of a row about something that was asked and not done. */
export function refusalOf(error: unknown): string {
  return `refused: ${error instanceof Error ? error.message : String(error)}`;
}

export function createAudit(context: {
  readonly store: Pick<Store, "audit">;
  readonly clock: Clock;
}): Audit {
  const { store, clock } = context;
  return {
    append: (who, what, target, detail) =>
      store.audit.append({
        at: clock.now(),
        who,
        what,
        target,
        ...(detail !== undefined && { detail }),
      }),
    list: (page) => store.audit.list(page),
  };
}
