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
import type { Approval, EnrolmentToken, Store } from "../store/store.ts";
import { codeOfKey } from "./keys.ts";

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
   * Whether `burn` would go through now.
   *
   * @throws TokenRefusedError, EnrolmentRefusedError as `burn` does
   */
  check(mac: MacAddress, right: EnrolmentRight): void;
  /**
   * Uses up the token and its window, or the approval, on disk, before the caller answers.
   * The same key may repeat its request, because an answer can be lost on the way.
   *
   * @throws TokenRefusedError when the token is unknown, used, late or another node's;
   *   EnrolmentRefusedError when there is no token, and no admin has approved this key
   */
  burn(mac: MacAddress, right: EnrolmentRight): void;
  /** Whether the token was made for this MAC address, whatever became of it. */
  isTokenOf(mac: MacAddress, token: string | undefined): boolean;
  /**
   * An admin vouches for the node: it may enrol once without a token, within the window's time.
   *
   * @param code - of the key that is meant ({@link codeOfKey}); absent: whichever asks first
   */
  approve(mac: MacAddress, code?: string): void;
}

/** What a node enrols by. */
export interface EnrolmentRight {
  /** Absent: an admin must have approved it. */
  readonly token?: string | undefined;
  /** Public key that enrols, PEM; useless to whoever lacks its private half. */
  readonly holder: string;
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

  /** No window ends so late: this machine's clock was set back since, as where there is no RTC. */
  const isFromElsewhen = (expiresAt: Instant, now: Instant): boolean =>
    expiresAt - now > 2 * duration;

  function forgetExpired(now: Instant): void {
    for (const [mac, window] of windows) if (!isOpen(window, now)) windows.delete(mac);
    // A late token shall be known as late, not as a guess: its row stays a day longer.
    store.tokens.deleteExpired((now - 86_400_000) as Instant);
  }

  function checkToken(mac: MacAddress, token: string, holder: string): EnrolmentToken {
    const now = clock.now();
    const row = store.tokens.get(hashOf(token));
    if (!row) throw new TokenRefusedError(`enrolment token of ${mac} is unknown`, undefined);
    if (row.mac !== mac) {
      throw new TokenRefusedError(`enrolment token of ${row.mac} came from ${mac}`, row.mac);
    }
    if (isFromElsewhen(row.expiresAt, now)) {
      throw new TokenRefusedError(`enrolment token of ${mac} was made on another clock`, row.mac);
    }
    if (now >= row.expiresAt) {
      throw new TokenRefusedError(
        `enrolment token of ${mac} came ${Math.ceil((now - row.expiresAt) / 1000)} s too late`,
        row.mac,
      );
    }
    if (row.usedAt !== undefined && row.holder !== holder) {
      throw new TokenRefusedError(`enrolment token of ${mac} was used before`, row.mac);
    }
    return row;
  }

  function checkApproval(mac: MacAddress, holder: string): Approval {
    const code = codeOfKey(holder);
    const approval = store.approvals.get(mac);
    const lasts = approval !== undefined && clock.now() < approval.expiresAt;
    const isMeant = approval?.holder === undefined || approval.holder === holder;
    if (!lasts || !isMeant || (approval.code ?? code) !== code) {
      throw new EnrolmentRefusedError(
        `node ${mac} has no enrolment token: an admin must approve it, code ${code}`,
      );
    }
    return approval;
  }

  /** A window that was open when the server stopped: its token is lost, its time is not over. */
  function resume(mac: MacAddress, now: Instant): string | undefined {
    const [row] = store.tokens.openOf(mac, now);
    if (!row || isFromElsewhen(row.expiresAt, now)) return undefined;
    const token = newToken();
    store.tokens.put({ ...row, hash: hashOf(token) });
    windows.set(mac, { token, expiresAt: row.expiresAt });
    log.info({ mac, until: row.expiresAt }, "enrolment window resumed with another token");
    return token;
  }

  /** One window, one credential: the other tokens of the window go with the one that is used. */
  function useUp({ hash, mac, usedAt }: EnrolmentToken, holder: string): void {
    if (usedAt !== undefined) return; // its holder repeats
    const now = clock.now();
    store.transaction(() => {
      store.tokens.burn(hash, now, holder);
      for (const row of store.tokens.openOf(mac, now)) store.tokens.burn(row.hash, now);
    });
    windows.delete(mac);
    log.info({ mac }, "enrolment token used");
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

    check(mac, { token, holder }) {
      if (token === undefined) checkApproval(mac, holder);
      else checkToken(mac, token, holder);
    },

    burn(mac, { token, holder }) {
      if (token !== undefined) return useUp(checkToken(mac, token, holder), holder);
      const approval = checkApproval(mac, holder);
      if (approval.holder === undefined) store.approvals.burn(mac, holder);
    },

    isTokenOf: (mac, token) => token !== undefined && store.tokens.get(hashOf(token))?.mac === mac,

    approve(mac, code) {
      const now = clock.now();
      forgetExpired(now);
      const expiresAt = after(now, duration);
      store.approvals.put({ mac, expiresAt, ...(code !== undefined && { code }) });
      log.info({ mac, code }, "enrolment approved");
    },
  };
}

function newToken(): string {
  return randomBytes(16).toString("hex");
}

function hashOf(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}
