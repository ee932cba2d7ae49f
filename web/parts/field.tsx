/** Labelled fields whose value is a signal. */

import type { Signal } from "@preact/signals";

interface TextFieldProps {
  readonly text: string;
  readonly value: Signal<string>;
  /** What it may look like. */
  readonly hint?: string;
  readonly isNeeded?: boolean;
}

export function TextField({ text, value, hint, isNeeded = false }: TextFieldProps) {
  return (
    <label class="field">
      <span>
        {text} {hint !== undefined && <span class="quiet">{hint}</span>}
      </span>
      <input
        value={value.value}
        required={isNeeded}
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => {
          value.value = event.currentTarget.value;
        }}
      />
    </label>
  );
}

interface SelectFieldProps {
  readonly text: string;
  readonly value: Signal<string>;
  readonly options: readonly (readonly [value: string, text: string])[];
}

export function SelectField({ text, value, options }: SelectFieldProps) {
  return (
    <label class="field">
      <span>{text}</span>
      <select
        value={value.value}
        onChange={(event) => {
          value.value = event.currentTarget.value;
        }}
      >
        {options.map(([one, words]) => (
          <option key={one} value={one}>
            {words}
          </option>
        ))}
      </select>
    </label>
  );
}
