/** A notifier whose messages stay here, on a journal in memory and a clock that is moved by hand. */

import type { Notice, Occasion } from "#protocol/notice.ts";
import { usualOccasions } from "#protocol/notice.ts";
import { createEventBus } from "../../server/events.ts";
import { createLog } from "../../server/log.ts";
import type { NamedChannel } from "../../server/notify/notifier.ts";
import { createNotifier, type Notifier } from "../../server/notify/notifier.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import type { Store } from "../../server/store/store.ts";
import { type ManualClock, manualClock, settle } from "../support/manual-clock.ts";

export interface Desk {
  readonly store: Store;
  readonly clock: ManualClock;
  readonly events: ReturnType<typeof createEventBus>;
  /** One list of notices per message that was taken. */
  readonly messages: (readonly Notice[])[];
  /** What the other side answers with; undefined: it takes the message. */
  refusal: string | undefined;
  notifier: Notifier;
  /** Another server process on the same journal. */
  restart(): Promise<void>;
}

export function openDesk(on: readonly Occasion[] = usualOccasions): Desk {
  const store = openSqliteStore(":memory:");
  const clock = manualClock();
  const log = createLog("silent");
  const events = createEventBus(log);
  const messages: (readonly Notice[])[] = [];
  const channel: NamedChannel = {
    name: "mail",
    on,
    channel: {
      async send(notices) {
        if (desk.refusal !== undefined) throw new Error(desk.refusal);
        messages.push(notices);
      },
    },
  };
  const start = () => createNotifier({ channels: [channel], store, events, clock, log });
  const desk: Desk = {
    store,
    clock,
    events,
    messages,
    refusal: undefined,
    notifier: start(),
    async restart() {
      await desk.notifier.close();
      desk.notifier = start();
      await settle();
    },
  };
  return desk;
}
