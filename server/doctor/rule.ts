/** A rule of the diagnosis: it reads one boot and says what it sees in it, or nothing. */

import type { Instant } from "#protocol/brand.ts";
import type { Finding } from "#protocol/timeline.ts";
import type { Story } from "./story.ts";

export interface Rule {
  readonly code: string;
  readonly severity: Finding["severity"];
  /** In the words of an admin, with the numbers seen; `undefined`: it does not apply. */
  tell(story: Story): string | undefined;
  readonly remedy?: string | ((story: Story) => string);
}

export interface RuleGroup {
  readonly rules: readonly Rule[];
  /** True: only of a node that is neither up nor off. What it did on its way is no news then. */
  readonly whileBooting: boolean;
}

/** Milliseconds since `at`; none when it never was. */
export function since({ now }: Story, at: Instant | undefined): number {
  return at === undefined ? 0 : now - at;
}

export function isRaspberryPi({ firmware }: Story): boolean {
  return firmware?.startsWith("raspberry-pi") ?? false;
}

/** Another server may give the addresses here, and that is how it was set. */
export function isBesideAnother({ subnet }: Story): boolean {
  return subnet?.mode === "proxy" || subnet?.mode === "auto";
}
