/** How learning goes, and its flags as the page shows them. */

import type { Flag, LearningStatus } from "#protocol/learning.ts";
import { type Followed, type FollowSource, follow } from "./follow.ts";

const pace = { settleMs: 300, periodMs: 30_000 };

export function followLearning(source: FollowSource<LearningStatus>): Followed<LearningStatus> {
  return follow(source, ({ topic }) => topic === "learning", pace);
}

export interface StackProgress {
  readonly stack: string;
  readonly state: "waiting" | "listening" | "seen" | "heard" | "flagged";
  /** `3 of 4 placed`. */
  readonly text: string;
}

/** In rack order. The state is that of the slot which needs most attention. */
export function stackProgress({ slots }: LearningStatus): readonly StackProgress[] {
  const order = ["listening", "flagged", "waiting", "seen", "heard"] as const;
  return [...Map.groupBy(slots, ({ slot }) => slot.stack)].map(([stack, members]) => {
    const count = (wanted: string) => members.filter(({ state }) => state === wanted).length;
    const state = order.find((one) => count(one) > 0) ?? "waiting";
    const word = { listening: "listening", flagged: "to look at", waiting: "waiting" }[
      state as string
    ];
    const [heard, seen] = [count("heard"), count("seen")];
    const done = heard > 0 || seen === 0 ? `${heard} of ${members.length} placed` : `${seen} heard`;
    return { stack, state, text: word === undefined ? done : `${done}, ${word}` };
  });
}

export interface ShownFlag {
  readonly key: string;
  readonly reason: Flag["reason"];
  readonly text: string;
  readonly remedy?: string;
  readonly answers: Flag["answers"];
  /** What `confirm` and `keep` are said about. */
  readonly target?: string;
  readonly mac?: string;
  readonly stack?: string;
}

/** Boards of one stack that only wait for a yes are one line. */
export function shownFlags({ flagged }: LearningStatus): readonly ShownFlag[] {
  const guessed = Map.groupBy(
    flagged.filter(({ reason }) => reason === "unconfirmed"),
    ({ stack }) => stack ?? "",
  );
  const others = flagged.filter(({ reason }) => reason !== "unconfirmed");
  return [
    ...others.map(({ reason, text, remedy, answers, mac, stack }): ShownFlag => {
      return {
        key: `${reason} ${stack} ${mac} ${text}`,
        ...{ reason, text, answers },
        ...(remedy !== undefined && { remedy }),
        ...(mac !== undefined && { mac, target: mac }),
        ...(stack !== undefined && { stack }),
      };
    }),
    ...[...guessed].map(([stack, { length }]): ShownFlag => {
      return {
        ...{ key: `unconfirmed ${stack}`, reason: "unconfirmed", stack, target: stack },
        text: `${length === 1 ? "1 board" : `${length} boards`} of stack ${stack} placed by the order heard alone`,
        remedy: "let each show itself (Identify), then confirm, or swap two",
        answers: ["confirm", "swap"],
      };
    }),
  ];
}
