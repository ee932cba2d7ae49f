/** A question in the browser's own modal dialog: Escape and focus are its business. */

import { type Signal, useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

interface DialogProps {
  readonly title: string;
  readonly open: Signal<boolean>;
  readonly actionText: string;
  readonly isHarsh?: boolean;
  /** When given, it must be typed first. */
  readonly word?: string;
  /** Throws what is then shown in the dialog, which stays open. */
  readonly action: () => Promise<void>;
  readonly children: ComponentChildren;
}

export function Dialog(props: DialogProps) {
  const { title, open, actionText, isHarsh, word, action, children } = props;
  const element = useRef<HTMLDialogElement>(null);
  const typed = useSignal("");
  const refusal = useSignal<string | undefined>(undefined);
  const isBusy = useSignal(false);
  useEffect(() => {
    if (open.value) element.current?.showModal();
    else element.current?.close();
    typed.value = "";
    refusal.value = undefined;
  }, [open.value, typed, refusal]);
  const act = async (event: Event) => {
    event.preventDefault();
    isBusy.value = true;
    try {
      await action();
      open.value = false;
    } catch (error) {
      refusal.value = error instanceof Error ? error.message : String(error);
    }
    isBusy.value = false;
  };
  const close = () => {
    open.value = false;
  };
  if (!open.value) return null;
  return (
    <dialog ref={element} class="dialog" onClose={close} aria-label={title}>
      <form onSubmit={(event) => void act(event)}>
        <h2>{title}</h2>
        {children}
        {word !== undefined && (
          <label class="field">
            <span>
              Type <b>{word}</b> to go on
            </span>
            <input
              value={typed.value}
              autocomplete="off"
              spellcheck={false}
              onInput={(event) => {
                typed.value = event.currentTarget.value;
              }}
            />
          </label>
        )}
        {refusal.value !== undefined && (
          <p class="refusal" role="alert">
            {refusal.value}
          </p>
        )}
        <div class="dialog-foot">
          <button type="button" class="button-quiet" onClick={close}>
            Keep as it is
          </button>
          <button
            type="submit"
            class={isHarsh ? "button-harsh" : "button"}
            disabled={isBusy.value || (word !== undefined && typed.value.trim() !== word)}
          >
            {actionText}
          </button>
        </div>
      </form>
    </dialog>
  );
}
