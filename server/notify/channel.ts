/** What carries notices to people: one file in `channels/` per kind. */

import type { Notice } from "#protocol/notice.ts";

export interface Channel {
  /**
   * Delivers all of them in one message; resolves once the other side has taken it.
   *
   * @param id - the same for the same message, however often it is tried
   * @throws UnavailableError saying why it was not taken
   */
  send(notices: readonly Notice[], id: string, signal: AbortSignal): Promise<void>;
}
