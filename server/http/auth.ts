/**
 * Who may call: users, their passwords and their tokens.
 *
 * There is no default account. While no user exists, a set-up code made at
 * start, shown on the console and kept in memory only, makes the first admin;
 * it then stops working. Passwords are scrypt, tokens are 256 random bits of
 * which only the sha-256 is kept.
 */

import { createHash, randomBytes, randomInt, scrypt, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import type { Context } from "koa";
import type { UserRole } from "#protocol/account.ts";
import { after, type Instant, milliseconds } from "#protocol/brand.ts";
import { createAudit } from "../audit/audit.ts";
import type { Clock } from "../clock.ts";
import {
  ConflictError,
  InvalidInputError,
  TooManyRequestsError,
  UnauthorisedError,
} from "../errors.ts";
import type { Store, User } from "../store/store.ts";
import { lesserRole } from "./route.ts";

export interface Principal {
  readonly name: string;
  readonly role: UserRole;
  /** sha-256 of the token in use, hex. */
  readonly tokenHash: string;
  readonly via: "bearer" | "cookie";
  /** Signed in with a password, not a token for programs. */
  readonly isSession: boolean;
}

export interface Credentials {
  readonly name: string;
  readonly password: string;
  readonly from: string;
}

export interface Session {
  readonly token: string;
  readonly name: string;
  readonly role: UserRole;
  readonly expiresAt: Instant;
}

/** Where a request comes from, for the throttle and the audit. Callers of the unix socket share one name. */
export function peerOf(koa: Context): string {
  return koa.req.socket.remoteAddress ?? "socket";
}

export interface Accounts {
  /** Set while no user exists. */
  readonly setupCode: string | undefined;
  /** @throws ConflictError once a user exists, UnauthorisedError on a wrong code. */
  setup(request: { code: string; name: string; password: string; from: string }): Promise<Session>;
  /** @throws UnauthorisedError, TooManyRequestsError */
  signIn(request: Credentials): Promise<Session>;
  /** The password is this user's. @throws as `signIn` does */
  verify(request: Credentials): Promise<User>;
  signOut(tokenHash: string): void;
  /** `undefined` for a token that is unknown, expired, or whose user is gone. */
  principalOf(token: string, via: Principal["via"]): Principal | undefined;
}

export const sessionCookie = "marcoboot_session";
/** 30 days: also the life of the command line's token. */
const sessionLife = milliseconds(30 * 24 * 3600 * 1000);
const lastUsedStep = 60_000; // a write per minute at most, not one per request
/** 128 * N * r = 16 MiB and about 50 ms per try. */
const scryptCost = { N: 16384, r: 8, p: 1 };
const minPasswordLength = 10;
/** Name of the tokens that signing in makes. */
export const sessionTokenName = "session";

const scryptAsync = promisify<string, Buffer, number, typeof scryptCost, Buffer>(scrypt);

/** `salt:hash` in hex. */
export async function hashPassword(password: string, salt = randomBytes(16)): Promise<string> {
  const hash = await scryptAsync(password.normalize("NFC"), salt, 32, scryptCost);
  return `${salt.toString("hex")}:${hash.toString("hex")}`;
}

/** @throws InvalidInputError */
export function checkPassword(password: string): void {
  if (password.length >= minPasswordLength) return;
  const detail = `at least ${minPasswordLength} characters`;
  throw new InvalidInputError("password too short", [{ pointer: "/password", detail }]);
}

async function passwordMatches(password: string, stored: string): Promise<boolean> {
  const [salt = "", hash = ""] = stored.split(":");
  const candidate = await hashPassword(password, Buffer.from(salt, "hex"));
  return sameText(candidate, `${salt}:${hash}`);
}

function sameText(a: string, b: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

export function hashToken(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

/** 12 characters in three groups, without those that look alike: 60 bits. */
function makeSetupCode(): string {
  const letters = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"; // 31 letters: no 0 O 1 I L
  const group = () => Array.from({ length: 4 }, () => letters[randomInt(letters.length)]).join("");
  return [group(), group(), group()].join("-");
}

export function createAccounts(context: { store: Store; clock: Clock }): Accounts {
  const { store, clock } = context;
  let setupCode = store.users.list().length === 0 ? makeSetupCode() : undefined;
  const throttle = createThrottle(clock);
  const audit = createAudit({ store, clock });
  // Compared against when the name is unknown, so that both cases take the same time.
  const nobody = hashPassword(randomBytes(16).toString("hex"));

  const open = (user: User): Session => {
    const token = `mb_${randomBytes(32).toString("base64url")}`;
    const now = clock.now();
    const expiresAt = after(now, sessionLife);
    store.apiTokens.put({
      hash: hashToken(token),
      user: user.name,
      name: sessionTokenName,
      createdAt: now,
      expiresAt,
    });
    return { token, name: user.name, role: user.role, expiresAt };
  };

  const verify = async ({ name, password, from }: Credentials): Promise<User> => {
    throttle.check(name, from);
    throttle.failed(name, from); // counted before the slow hash, so that parallel tries count too
    const user = store.users.get(name);
    const matches = await passwordMatches(password, user?.password ?? (await nobody));
    if (!user || !matches) throw new UnauthorisedError("wrong name or password");
    throttle.succeeded(name, from);
    return user;
  };

  return {
    get setupCode() {
      return setupCode;
    },
    async setup({ code, name, password, from }) {
      if (setupCode === undefined) throw new ConflictError("set-up is done: sign in instead");
      throttle.check("setup", from);
      if (!sameText(code.trim().toUpperCase(), setupCode)) {
        throttle.failed("setup", from);
        throw new UnauthorisedError("wrong set-up code: it is on the server's console");
      }
      checkPassword(password);
      setupCode = undefined; // before the first await: the code works once
      const user: User = {
        name,
        password: await hashPassword(password),
        role: "admin",
        createdAt: clock.now(),
      };
      return store.transaction(() => {
        store.users.put(user);
        audit.append(name, "create-first-admin", name, `from ${from}`);
        return open(user);
      });
    },
    verify,
    async signIn(request) {
      const user = await verify(request);
      audit.append(user.name, "sign-in", user.name, `from ${request.from}`);
      return open(user);
    },
    signOut: (tokenHash) => store.apiTokens.delete(tokenHash),
    principalOf(token, via) {
      const row = store.apiTokens.get(hashToken(token));
      if (!row) return undefined;
      const now = clock.now();
      if (row.expiresAt !== undefined && row.expiresAt <= now) return undefined;
      const user = store.users.get(row.user);
      if (!user) return undefined;
      if (now - (row.lastUsedAt ?? 0) > lastUsedStep) {
        store.apiTokens.put({ ...row, lastUsedAt: now });
      }
      return {
        name: user.name,
        role: lesserRole(user.role, row.role),
        tokenHash: row.hash,
        via,
        isSession: row.name === sessionTokenName,
      };
    },
  };
}

/** Guesses in a row before a name or an address must wait. */
const burst = 5;
/** One more guess is allowed after each of these, in milliseconds. */
const refillMs = 30_000;
const maxBuckets = 4096;

/** Leaky buckets per account name and per address; a full one is refused without any hashing. */
function createThrottle(clock: Clock) {
  const buckets = new Map<string, { level: number; at: number }>();
  const levelOf = (key: string) => {
    const bucket = buckets.get(key);
    if (!bucket) return 0;
    return Math.max(0, bucket.level - (clock.monotonic() - bucket.at) / refillMs);
  };
  // Many browsers may share an address (or the socket): it gets more than a single name does.
  const keys = (name: string, from: string) =>
    [
      [`name ${name}`, burst],
      [`from ${from}`, burst * 4],
    ] as const;
  return {
    check(name: string, from: string): void {
      if (keys(name, from).some(([key, limit]) => levelOf(key) > limit - 1)) {
        throw new TooManyRequestsError("too many wrong tries: wait half a minute");
      }
    },
    failed(name: string, from: string): void {
      for (const [key] of keys(name, from)) {
        const level = levelOf(key) + 1;
        buckets.delete(key); // to the end of the map: the oldest is dropped first
        buckets.set(key, { level, at: clock.monotonic() });
      }
      for (const key of buckets.keys()) {
        if (buckets.size <= maxBuckets) break;
        buckets.delete(key);
      }
    },
    succeeded(name: string, from: string): void {
      buckets.delete(`name ${name}`);
      const key = `from ${from}`;
      buckets.set(key, { level: Math.max(0, levelOf(key) - 1), at: clock.monotonic() });
    },
  };
}
