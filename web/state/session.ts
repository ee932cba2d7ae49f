/** Who is signed in, and which form is shown otherwise. */

import { type ReadonlySignal, signal } from "@preact/signals";
import type { Account } from "#protocol/account.ts";

export type User = Pick<Account, "name" | "role">;

export type SessionState =
  | { readonly step: "loading" }
  | { readonly step: "setup" }
  | { readonly step: "sign-in" }
  | { readonly step: "signed-in"; readonly user: User };

export type Call = <Answer>(
  method: "GET" | "POST" | "DELETE",
  path: string,
  body?: unknown,
) => Promise<Answer>;

export interface Session {
  readonly state: ReadonlySignal<SessionState>;
  /** Why the last try was refused. */
  readonly refusal: ReadonlySignal<string | undefined>;
  begin(): Promise<void>;
  setup(form: { code: string; name: string; password: string }): Promise<void>;
  signIn(form: { name: string; password: string }): Promise<void>;
  signOut(): Promise<void>;
  /** The server no longer knows us. */
  expired(): void;
}

export function createSession(call: Call): Session {
  const state = signal<SessionState>({ step: "loading" });
  const refusal = signal<string | undefined>(undefined);

  const enter = async (path: string, form: object): Promise<void> => {
    refusal.value = undefined;
    try {
      const { name, role } = await call<User>("POST", path, form);
      state.value = { step: "signed-in", user: { name, role } };
    } catch (error) {
      refusal.value = error instanceof Error ? error.message : String(error);
    }
  };
  return {
    state,
    refusal,
    async begin() {
      try {
        const user = await call<User>("GET", "/api/v1/sessions/current");
        state.value = { step: "signed-in", user };
      } catch {
        const { needed } = await call<{ needed: boolean }>("GET", "/api/v1/setup");
        state.value = { step: needed ? "setup" : "sign-in" };
      }
    },
    setup: (form) => enter("/api/v1/setup", form),
    signIn: (form) => enter("/api/v1/sessions", form),
    async signOut() {
      await call("DELETE", "/api/v1/sessions/current");
      state.value = { step: "sign-in" };
    },
    expired() {
      state.value = { step: "sign-in" };
    },
  };
}
