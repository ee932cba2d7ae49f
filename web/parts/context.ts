/** What every part of the page may read. */

import type { Live } from "../state/live.ts";
import type { Selection } from "../state/selection.ts";
import type { Session } from "../state/session.ts";
import type { Site } from "../state/site.ts";

export interface PageContext {
  readonly site: Site;
  readonly selection: Selection;
  readonly session: Session;
  readonly live: Live;
}
