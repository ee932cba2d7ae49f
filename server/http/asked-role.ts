/** What of jobs is for admins alone. */

import { ForbiddenError } from "../errors.ts";
import { needsAdmin } from "../job/commands.ts";
import type { Asked } from "../job/request.ts";
import type { Principal } from "./auth.ts";

/** @throws ForbiddenError */
export function checkRole(
  { kind, parameters }: Pick<Asked, "kind" | "parameters">,
  principal: Principal | undefined,
): void {
  if (principal?.role === "admin" || !needsAdmin(kind, parameters)) return;
  throw new ForbiddenError(
    kind === "run"
      ? "any program is for admins: name a command of the configuration"
      : `${kind} is for admins`,
  );
}
