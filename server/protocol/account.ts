/** Who may sign in, and which programs may call: as told to people, without a secret. */

import type { Instant } from "./brand.ts";

export const userRoles = ["viewer", "operator", "admin"] as const;
export type UserRole = (typeof userRoles)[number];

export interface Account {
  readonly name: string;
  readonly role: UserRole;
  readonly createdAt: Instant;
}

export interface TokenSummary {
  /** Twelve hexadecimal digits, which name it and open nothing. */
  readonly id: string;
  readonly user: string;
  readonly name: string;
  readonly role: UserRole;
  readonly createdAt: Instant;
  readonly expiresAt?: Instant;
  readonly lastUsedAt?: Instant;
}
