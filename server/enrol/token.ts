/**
 * Enrolment windows: when, and with which one-time token, a node may get its
 * first credential.
 *
 * No boot ROM can keep a secret, so first trust rests on the one thing an
 * attacker does not control: when an outlet was switched. A window opens then,
 * for one MAC address; its token is 128 random bits, single use. The journal
 * holds only the token's hash. The token itself lives in memory while the window
 * is open, because the boot script must carry it. After a restart of the server a
 * node that has its kernel line enrols with the token in it; one that has not gets
 * another token for the time that is left. Whichever is used first uses up both.
 */

import { createHash, randomBytes } from "node:crypto";
import { after, type Instant, type MacAddress, milliseconds } from "#protocol/brand.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import { EnrolmentRefusedError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { EnrolmentToken, Store } from "../store/store.ts";

export type WindowCause = "power-on" | "reboot" | "approved";

export interface Windows {
  /**
   * Lets `mac` enrol within `enrolmentMinutes`. A window that is still open is
   * made longer and keeps its token: a script already fetched stays good.
   */
  open(mac: MacAddress, cause: WindowCause): void;
  /**
   * The plain token, 32 hex digits, while the window is open and unused. Only the
   * node's own boot script may carry it: whoever calls has checked who asks.
   */
  tokenFor(mac: MacAddress): string | undefined;
  /**
   * Uses up the token and its window, on disk, before the caller answers. The same `holder`
   * may repeat its request, because an answer can be lost on the way.
   *
   * @param holder - the public key that enrols; useless to whoever lacks its private half
   * @throws TokenRefusedError when the token is unknown, used, late or another node's
   */
  burn(mac: MacAddress, token: string, holder?: string): void;
  /** Whether the token was made for this MAC address, whatever became of it. */
  isTokenOf(mac: MacAddress, token: string | undefined): boolean;
  /** An admin vouches for the node: it may enrol once without a token, within the window's time. */
  approve(mac: MacAddress): void;
  /**
   * Uses up an approval.
   *
   * @throws EnrolmentRefusedError when there is none
   */
  useApproval(mac: MacAddress): void;
}

/** Why a token was refused, and which node must be held back for it. */
export class TokenRefusedError extends EnrolmentRefusedError {
  /** Node the token was made for; undefined for a guess, which tells nothing about any node. */
  readonly holds: MacAddress | undefined;

  constructor(reason: string, holds: MacAddress | undefined) {
    super(reason);
    this.holds = holds;
  }
}

interface OpenWindow {
  readonly token: string;
  readonly expiresAt: Instant;
}

export function createWindows(context: {
  readonly store: Pick<Store, "tokens" | "approvals" | "transaction">;
  readonly clock: Clock;
  readonly config: Pick<Config, "enrolmentMinutes">;
  readonly log: Log;
}): Windows {
  const { store, clock, log } = context;
  const duration = milliseconds(context.config.enrolmentMinutes * 60_000);
  const windows = new Map<MacAddress, OpenWindow>();

  const isOpen = (window: OpenWindow | undefined, now: Instant): window is OpenWindow =>
    window !== undefined && now < window.expiresAt;

  function forgetExpired(now: Instant): void {
    for (const [mac, window] of windows) if (!isOpen(window, now)) windows.delete(mac);
    // A late token shall be known as late, not as a guess: its row stays a day longer.
    store.tokens.deleteExpired((now - 86_400_000) as Instant);
  }

  function check(row: EnrolmentToken | undefined, mac: MacAddress, now: Instant): EnrolmentToken {
    if (!row) throw new TokenRefusedError(`enrolment token of ${mac} is unknown`, undefined);
    if (row.mac !== mac) {
      throw new TokenRefusedError(`enrolment token of ${row.mac} came from ${mac}`, row.mac);
    }
    if (now >= row.expiresAt) {
      throw new TokenRefusedError(
        `enrolment token of ${mac} came ${Math.ceil((now - row.expiresAt) / 1000)} s too late`,
        row.mac,
      );
    }
    return row;
  }

  /** A window that was open when the server stopped: its token is lost, its time is not over. */
  function resume(mac: MacAddress, now: Instant): string | undefined {
    const [row] = store.tokens.openOf(mac, now);
    if (!row) return undefined;
    const token = newToken();
    store.tokens.put({ ...row, hash: hashOf(token) });
    windows.set(mac, { token, expiresAt: row.expiresAt });
    log.info({ mac, until: row.expiresAt }, "enrolment window resumed with another token");
    return token;
  }

  /** One window, one credential: the other tokens of the window go with the one that is used. */
  function useUp(hash: string, mac: MacAddress, now: Instant, holder?: string): boolean {
    return store.transaction(() => {
      if (!store.tokens.burn(hash, now, holder)) return false;
      for (const row of store.tokens.openOf(mac, now)) store.tokens.burn(row.hash, now);
      return true;
    });
  }

  return {
    open(mac, cause) {
      const now = clock.now();
      forgetExpired(now);
      const token = windows.get(mac)?.token ?? newToken();
      const expiresAt = after(now, duration);
      store.transaction(() => {
        // Those of before a restart: a script already fetched stays good.
        for (const row of store.tokens.openOf(mac, now)) store.tokens.put({ ...row, expiresAt });
        store.tokens.put({ hash: hashOf(token), mac, cause, openedAt: now, expiresAt });
      });
      windows.set(mac, { token, expiresAt });
      log.info({ mac, cause, until: expiresAt }, "enrolment window opened");
    },

    tokenFor(mac) {
      const now = clock.now();
      const window = windows.get(mac);
      return isOpen(window, now) ? window.token : resume(mac, now);
    },

    burn(mac, token, holder) {
      const now = clock.now();
      const hash = hashOf(token);
      const row = check(store.tokens.get(hash), mac, now);
      if (useUp(hash, mac, now, holder)) {
        windows.delete(mac);
        log.info({ mac }, "enrolment token used");
        return;
      }
      if (holder !== undefined && row.holder === holder) return;
      throw new TokenRefusedError(`enrolment token of ${mac} was used before`, row.mac);
    },

    isTokenOf: (mac, token) => token !== undefined && store.tokens.get(hashOf(token))?.mac === mac,

    approve(mac) {
      const now = clock.now();
      forgetExpired(now);
      store.approvals.put(mac, after(now, duration));
      log.info({ mac }, "enrolment approved");
    },

    useApproval(mac) {
      const until = store.approvals.take(mac);
      if (until !== undefined && clock.now() < until) return;
      throw new EnrolmentRefusedError(
        `node ${mac} has no enrolment token: an admin must approve it`,
      );
    },
  };
}

function newToken(): string {
  return randomBytes(16).toString("hex");
}

function hashOf(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}
