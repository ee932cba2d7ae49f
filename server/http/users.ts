/**
 * Accounts beyond the first, and tokens for programs.
 *
 * There is always an admin: the last one can be neither removed nor lowered. A
 * token may do no more than its user, nor more than it was made for, and ends by
 * itself. Whatever ends a user's right ends the tokens with it, in one commit.
 */

import { randomBytes } from "node:crypto";
import type { Account, TokenSummary, UserRole } from "#protocol/account.ts";
import { after, milliseconds } from "#protocol/brand.ts";
import type { Clock } from "../clock.ts";
import { ConflictError, InvalidInputError, NotFoundError } from "../errors.ts";
import type { ApiToken, Store, User } from "../store/store.ts";
import { checkPassword, hashPassword, hashToken, sessionTokenName } from "./auth.ts";
import { lesserRole } from "./route.ts";

export interface Users {
  /** By name. */
  list(): readonly Account[];
  /** @throws ConflictError when the name is taken, InvalidInputError for a short password */
  add(user: { name: string; password: string; role: UserRole }): Promise<Account>;
  /** @throws NotFoundError, ConflictError for the last admin */
  setRole(name: string, role: UserRole): Account;
  /** Ends the user's sessions. @throws NotFoundError, InvalidInputError */
  setPassword(name: string, password: string): Promise<void>;
  /** @throws NotFoundError, ConflictError for the last admin */
  remove(name: string): void;
  /** Sessions are tokens too. @param user - only this one's */
  tokens(user?: string): readonly TokenSummary[];
  /** @returns the token, which nobody can read again */
  addToken(request: {
    readonly user: string;
    readonly name: string;
    readonly role: UserRole;
    readonly days: number;
  }): TokenSummary & { readonly token: string };
  /** @throws NotFoundError */
  removeToken(id: string, user?: string): void;
}

const idDigits = 12;
const dayMs = 24 * 3600 * 1000;

export function createUsers(context: { readonly store: Store; readonly clock: Clock }): Users {
  const { store, clock } = context;

  const existing = (name: string): User => {
    const user = store.users.get(name);
    if (!user) throw new NotFoundError(`no user ${JSON.stringify(name)}`);
    return user;
  };
  const keepAnAdmin = (user: User, what: string): void => {
    const others = store.users
      .list()
      .filter(({ role, name }) => role === "admin" && name !== user.name);
    if (user.role === "admin" && others.length === 0) {
      throw new ConflictError(
        `${user.name} is the only admin and cannot be ${what}: add another first`,
      );
    }
  };
  const endTokens = (name: string, which: (token: ApiToken) => boolean): void => {
    for (const token of store.apiTokens.list()) {
      if (token.user === name && which(token)) store.apiTokens.delete(token.hash);
    }
  };
  const summaryOf = ({ hash, role, ...rest }: ApiToken): readonly TokenSummary[] => {
    const user = store.users.get(rest.user);
    if (!user) return [];
    return [{ ...rest, id: hash.slice(0, idDigits), role: lesserRole(user.role, role) }];
  };
  const isPresent = ({ expiresAt }: ApiToken) => expiresAt === undefined || clock.now() < expiresAt;

  return {
    list: () => store.users.list().map(accountOf),

    async add({ name, password, role }) {
      checkPassword(password);
      const hash = await hashPassword(password);
      const user = { name, password: hash, role, createdAt: clock.now() };
      store.transaction(() => {
        if (store.users.get(name)) throw new ConflictError(`the name ${name} is taken`);
        store.users.put(user);
      });
      return accountOf(user);
    },

    setRole(name, role) {
      const user = existing(name);
      if (role !== "admin") keepAnAdmin(user, "lowered");
      const changed = { ...user, role };
      store.users.put(changed);
      return accountOf(changed);
    },

    async setPassword(name, password) {
      checkPassword(password);
      existing(name);
      const hash = await hashPassword(password);
      store.transaction(() => {
        store.users.put({ ...existing(name), password: hash });
        endTokens(name, (token) => token.name === sessionTokenName);
      });
    },

    remove(name) {
      store.transaction(() => {
        keepAnAdmin(existing(name), "removed");
        endTokens(name, () => true);
        store.users.delete(name);
      });
    },

    tokens: (user) =>
      store.apiTokens
        .list()
        .filter((token) => (user === undefined || token.user === user) && isPresent(token))
        .flatMap(summaryOf),

    addToken({ user, name, role, days }) {
      existing(user);
      if (name === sessionTokenName) {
        throw new InvalidInputError(`the name ${name} is kept for signing in`, [
          { pointer: "/name", detail: "another name" },
        ]);
      }
      const token = `mb_${randomBytes(32).toString("base64url")}`;
      const now = clock.now();
      const expiresAt = after(now, milliseconds(days * dayMs));
      const row = { hash: hashToken(token), user, name, role, createdAt: now, expiresAt };
      store.apiTokens.put(row);
      const { hash, ...rest } = row;
      return { ...rest, id: hash.slice(0, idDigits), token };
    },

    removeToken(id, user) {
      const found = store.apiTokens
        .list()
        .find((one) => one.hash.slice(0, idDigits) === id && (user ?? one.user) === one.user);
      if (!found) throw new NotFoundError(`no token ${JSON.stringify(id)}`);
      store.apiTokens.delete(found.hash);
    },
  };
}

function accountOf({ name, role, createdAt }: User): Account {
  return { name, role, createdAt };
}
