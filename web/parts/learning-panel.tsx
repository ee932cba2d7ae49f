/** How learning goes, and what it asks. */

import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { LearningStatus, SlotLearning } from "#protocol/learning.ts";
import { call } from "../api.ts";
import type { Followed } from "../state/follow.ts";
import { followLearning, type ShownFlag, shownFlags, stackProgress } from "../state/learning.ts";
import type { PageContext } from "./context.ts";
import { Dialog } from "./dialog.tsx";

const path = "/api/v1/learnings/current";

interface PanelProps {
  readonly context: PageContext;
  readonly canAct: boolean;
}

export function LearningPanel({ context, canAct }: PanelProps) {
  const followed = useSignal<Followed<LearningStatus> | undefined>(undefined);
  useEffect(() => {
    const live = followLearning({
      news: context.site.news,
      fetch: () => call<LearningStatus>("GET", path),
      later: (work, delayMs) => {
        const timer = setTimeout(work, delayMs);
        return () => clearTimeout(timer);
      },
    });
    followed.value = live;
    return () => live.stop();
  }, [context.site.news, followed]);
  const status = followed.value?.answer.value;
  if (!status || (status.state !== "running" && status.flagged.length === 0)) return null;
  const isRunning = status.state === "running";
  return (
    <section class="card" aria-labelledby="learning-title">
      <h2 id="learning-title">
        Learning of {status.rack} <span class={`chip chip-${status.state}`}>{status.state}</span>
      </h2>
      {isRunning && <Progress status={status} canAct={canAct} />}
      <ul class="learning-stacks" aria-label="Stacks">
        {stackProgress(status).map(({ stack, state, text }) => (
          <li key={stack} class={`learning-stack learning-${state}`}>
            <b>{stack}</b> {text}
          </li>
        ))}
      </ul>
      {status.flagged.length > 0 && (
        <ul class="plain-list findings" aria-label="To look at">
          {shownFlags(status).map((flag) => (
            <FlagLine key={flag.key} flag={flag} status={status} canAct={canAct && !isRunning} />
          ))}
        </ul>
      )}
    </section>
  );
}

function Progress({ status, canAct }: { status: LearningStatus; canAct: boolean }) {
  const asked = useSignal(false);
  const { done, total } = status.progress ?? { done: 0, total: 1 };
  return (
    <>
      <p>
        {status.doing}
        {status.until !== undefined && (
          <span class="quiet"> until {new Date(status.until).toLocaleTimeString()} at most</span>
        )}
      </p>
      <progress max={total} value={done} aria-label="Slots that are through">
        {done} of {total}
      </progress>
      {canAct && (
        <button type="button" class="button-quiet" onClick={() => open(asked)}>
          Stop learning…
        </button>
      )}
      <Dialog
        title="Stop learning"
        open={asked}
        actionText="Stop"
        action={() => call("DELETE", path)}
      >
        <p>What was on before is switched on again. What was learned stays.</p>
      </Dialog>
    </>
  );
}

interface FlagProps {
  readonly flag: ShownFlag;
  readonly status: LearningStatus;
  readonly canAct: boolean;
}

function FlagLine({ flag, status, canAct }: FlagProps) {
  const refusal = useSignal<string | undefined>(undefined);
  const { reason, text, remedy, answers, target, stack, mac } = flag;
  const isGone = reason === "swapped";
  const exchanged = useSignal(false);
  const say = async (verb: "confirm" | "keep") => {
    try {
      refusal.value = undefined;
      await call("POST", `${path}/${verb}`, { targets: [target] });
    } catch (error) {
      refusal.value = error instanceof Error ? error.message : String(error);
    }
  };
  return (
    <li class={`finding ${reason === "unconfirmed" ? "finding-hint" : "finding-problem"}`}>
      <b>{reason}: </b>
      {text}
      {remedy !== undefined && <p class="quiet">{remedy}</p>}
      {canAct && answers.length > 0 && (
        <div class="learning-answers">
          {answers.includes("confirm") && (
            <button
              type="button"
              class="button-quiet"
              onClick={() => (isGone ? open(exchanged) : void say("confirm"))}
            >
              Confirm
            </button>
          )}
          {answers.includes("keep") && (
            <button type="button" class="button-quiet" onClick={() => void say("keep")}>
              Keep as it was
            </button>
          )}
          {answers.includes("swap") && stack !== undefined && (
            <SwapButton slots={status.slots.filter(({ slot }) => slot.stack === stack)} />
          )}
          {answers.includes("place") && mac !== undefined && (
            <PlaceButton mac={mac} slots={status.slots} />
          )}
        </div>
      )}
      {refusal.value !== undefined && (
        <p class="refusal" role="alert">
          {refusal.value}
        </p>
      )}
      <Dialog
        title="The board was exchanged"
        open={exchanged}
        actionText="Exchanged"
        isHarsh
        action={() => call("POST", `${path}/confirm`, { targets: [target] })}
      >
        <p>{text}</p>
        <p>The new one gets the slot and its address; the old one's node is retired.</p>
      </Dialog>
    </li>
  );
}

function SwapButton({ slots }: { slots: readonly SlotLearning[] }) {
  const asked = useSignal(false);
  const one = useSignal(textOf(slots[0]));
  const other = useSignal(textOf(slots[1]));
  return (
    <>
      <button type="button" class="button-quiet" onClick={() => open(asked)}>
        Swap…
      </button>
      <Dialog
        title="Exchange two slots"
        open={asked}
        actionText="Exchange"
        action={() => call("POST", `${path}/swap`, { one: one.value, other: other.value })}
      >
        <SlotField label="This board" slots={slots} chosen={one} />
        <SlotField label="and this one" slots={slots} chosen={other} />
      </Dialog>
    </>
  );
}

function PlaceButton({ mac, slots }: { mac: string; slots: readonly SlotLearning[] }) {
  const asked = useSignal(false);
  const free = slots.filter(({ state }) => state !== "heard");
  const chosen = useSignal(textOf(free[0]));
  if (free.length === 0) return null;
  return (
    <>
      <button type="button" class="button-quiet" onClick={() => open(asked)}>
        Place…
      </button>
      <Dialog
        title={`Place ${mac}`}
        open={asked}
        actionText="It is there"
        action={() => call("POST", `${path}/place`, { mac, slot: chosen.value })}
      >
        <SlotField label="Slot" slots={free} chosen={chosen} />
      </Dialog>
    </>
  );
}

interface SlotFieldProps {
  readonly label: string;
  readonly slots: readonly SlotLearning[];
  readonly chosen: Signal<string>;
}

function SlotField({ label, slots, chosen }: SlotFieldProps) {
  return (
    <label class="field">
      <span>{label}</span>
      <select
        value={chosen.value}
        onChange={(event) => {
          chosen.value = event.currentTarget.value;
        }}
      >
        {slots.map((one) => (
          <option key={textOf(one)} value={textOf(one)}>
            {textOf(one)} {"mac" in one ? one.mac : "empty"}
          </option>
        ))}
      </select>
    </label>
  );
}

function textOf(one: SlotLearning | undefined): string {
  return one ? `${one.slot.stack}/${one.slot.slot}` : "";
}

function open(asked: Signal<boolean>): void {
  asked.value = true;
}
