/** First set-up and sign-in. */

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import type { Session } from "../state/session.ts";

interface GateProps {
  readonly title: string;
  readonly session: Session;
  readonly submit: (form: FormData) => Promise<void>;
  readonly actionText: string;
  readonly children: ComponentChildren;
}

function Gate({ title, session, submit, actionText, children }: GateProps) {
  const isBusy = useSignal(false);
  const send = async (event: SubmitEvent) => {
    event.preventDefault();
    isBusy.value = true;
    await submit(new FormData(event.currentTarget as HTMLFormElement));
    isBusy.value = false;
  };
  return (
    <main class="gate">
      <form class="card gate-card" onSubmit={(event) => void send(event)}>
        <h1>{title}</h1>
        {children}
        {session.refusal.value !== undefined && (
          <p class="refusal" role="alert">
            {session.refusal.value}
          </p>
        )}
        <button type="submit" class="button" disabled={isBusy.value}>
          {actionText}
        </button>
      </form>
    </main>
  );
}

function text(form: FormData, name: string): string {
  return String(form.get(name) ?? "");
}

export function SetupForm({ session }: { session: Session }) {
  return (
    <Gate
      title="Welcome to marcoboot"
      session={session}
      actionText="Make the first admin"
      submit={(form) =>
        session.setup({
          code: text(form, "code"),
          name: text(form, "name"),
          password: text(form, "password"),
        })
      }
    >
      <p class="quiet">The set-up code is on the server's console. It works once.</p>
      <label class="field">
        <span>Set-up code</span>
        <input name="code" required autocomplete="one-time-code" spellcheck={false} />
      </label>
      <label class="field">
        <span>Your name</span>
        <input name="name" required autocomplete="username" pattern="[A-Za-z0-9][A-Za-z0-9._\-]*" />
      </label>
      <label class="field">
        <span>Password, at least 10 characters</span>
        <input
          name="password"
          type="password"
          required
          minLength={10}
          autocomplete="new-password"
        />
      </label>
    </Gate>
  );
}

export function SignInForm({ session }: { session: Session }) {
  return (
    <Gate
      title="Sign in to marcoboot"
      session={session}
      actionText="Sign in"
      submit={(form) =>
        session.signIn({ name: text(form, "name"), password: text(form, "password") })
      }
    >
      <label class="field">
        <span>Name</span>
        <input name="name" required autocomplete="username" />
      </label>
      <label class="field">
        <span>Password</span>
        <input name="password" type="password" required autocomplete="current-password" />
      </label>
    </Gate>
  );
}
