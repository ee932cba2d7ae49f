/**
 * What a power driver is. One file in `drivers/` per kind of hardware;
 * `registry.ts` is the list of them.
 */

import type { Milliseconds } from "#protocol/brand.ts";
import type { PowerState } from "#protocol/node.ts";

/** Switches outlets of one kind: a GPIO relay channel, a PDU outlet, a PoE port, a BMC. */
export interface PowerDriver<Settings> {
  /** Name used in the rack file and the API: `qemu`, `gpio-relay`, `manual`. */
  readonly kind: string;
  /** Checks the rack file's `outlet.settings` block. @throws RangeError naming the wrong field. */
  parse(settings: unknown): Settings;
  /** Idempotent: switching on what is on is not an error. @throws PowerUnreachableError, PowerRefusedError */
  set(settings: Settings, state: "on" | "off", signal: AbortSignal): Promise<void>;
  /** `unknown` where the hardware cannot be asked. @throws PowerUnreachableError */
  query(settings: Settings, signal: AbortSignal): Promise<PowerState>;
  /** Least time an outlet stays off in a power cycle, so that capacitors drain. */
  readonly minimumOffTime: Milliseconds;
}
