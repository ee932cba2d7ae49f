/** The job kinds. A new kind is a file in `kinds/`, a line here, and its parameters in protocol/job.ts. */

import type { JobKindName } from "#protocol/job.ts";
import type { Kind } from "./kind.ts";
import { burnIn } from "./kinds/burn-in.ts";
import { capture } from "./kinds/capture.ts";
import { copy } from "./kinds/copy.ts";
import { identify } from "./kinds/identify.ts";
import { install } from "./kinds/install.ts";
import { inventory } from "./kinds/inventory.ts";
import { powerCycle, powerOff, powerOn } from "./kinds/power.ts";
import { reboot } from "./kinds/reboot.ts";
import { run } from "./kinds/run.ts";
import { shutdown } from "./kinds/shutdown.ts";
import { update } from "./kinds/update.ts";

const kinds = {
  install,
  update,
  reboot,
  shutdown,
  identify,
  inventory,
  "burn-in": burnIn,
  run,
  copy,
  capture,
  "power-on": powerOn,
  "power-off": powerOff,
  "power-cycle": powerCycle,
} satisfies {
  readonly [Name in JobKindName]: Kind<Name>;
};

/** Its caller passes a job of the same kind, which the compiler cannot see. */
export function kindOf(name: JobKindName): Kind<JobKindName> {
  return kinds[name] as Kind<JobKindName>;
}

export function isJobKind(text: string): text is JobKindName {
  return Object.hasOwn(kinds, text);
}
