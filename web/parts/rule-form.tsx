/** A new rule: which nodes, and what they do. */

import { type Signal, useSignal } from "@preact/signals";
import { doesText, matchText } from "#protocol/rule-text.ts";
import { call } from "../api.ts";
import { emptyRule, type RuleForm, requestOf } from "../state/rule-form.ts";
import type { Site } from "../state/site.ts";
import { Dialog } from "./dialog.tsx";

interface AddProps {
  readonly site: Site;
  /** Of the server's rules, in the order they are asked. */
  readonly names: readonly string[];
  readonly read: () => Promise<void>;
}

export function AddRuleButton({ site, names, read }: AddProps) {
  const open = useSignal(false);
  const form = useSignal<RuleForm>(emptyRule);
  const { rule } = requestOf(form.value);
  const add = async () => {
    await call("POST", "/api/v1/rules", requestOf(form.value));
    await read();
  };
  return (
    <>
      <button
        type="button"
        class="button-plain"
        onClick={() => {
          form.value = emptyRule;
          open.value = true;
        }}
      >
        Add a rule…
      </button>
      <Dialog
        title="A new rule"
        open={open}
        actionText="Add"
        isHarsh={rule.wipe === "any"}
        {...(rule.wipe === "any" && { word: rule.name })}
        action={add}
      >
        <Text form={form} name="name" text="Name" />
        <Which form={form} />
        <What form={form} images={[...new Set(site.images.value.map(({ name }) => name))]} />
        <Choice form={form} name="before" text="Asked" words={beforeWords(names)} />
        <p class="quiet" role="status">
          {matchText(rule)}: {doesText(rule)}
        </p>
      </Dialog>
    </>
  );
}

interface PartProps {
  readonly form: Signal<RuleForm>;
}
type Texts = Exclude<keyof RuleForm, "wipesAny" | "architecture">;

function Which({ form }: PartProps) {
  return (
    <details>
      <summary>Only some nodes</summary>
      <div class="form-rows">
        <Text form={form} name="places" text="In these places: lab, lab/a, lab/a/1" />
        <Text form={form} name="tags" text="With all of these tags" />
        <Choice
          form={form}
          name="architecture"
          text="Architecture"
          words={[["", "any"], ["amd64"], ["arm64"]]}
        />
        <Text form={form} name="model" text="Model; * for anything" />
        <Lines form={form} name="serials" text="Serial numbers of boards, one a line" />
        <Amount form={form} name="minMemoryMiB" text="Memory, MiB or more" />
        <Amount form={form} name="minDiskGB" text="Largest disk, GB or more" />
      </div>
    </details>
  );
}

function What({ form, images }: PartProps & { readonly images: readonly string[] }) {
  const words: Words = [
    ["", "nothing: they are left alone"],
    ...images.map((name) => [name] as const),
  ];
  return (
    <>
      <Choice form={form} name="image" text="They install" words={words} />
      <details>
        <summary>Disk, keys, burn-in</summary>
        <div class="form-rows">
          <Text form={form} name="disk" text="Disk, by kernel name or serial number" />
          <Lines form={form} name="authorizedKeys" text="Public keys for root, one a line" />
          <Amount form={form} name="burnInSeconds" text="Tested first, seconds" />
          <label>
            <input
              type="checkbox"
              checked={form.value.wipesAny}
              onChange={(event) => {
                form.value = { ...form.value, wipesAny: event.currentTarget.checked };
              }}
            />{" "}
            Whatever is on the disk is lost
          </label>
        </div>
      </details>
    </>
  );
}

interface FieldProps extends PartProps {
  readonly name: Texts;
  readonly text: string;
}

function Text({ form, name, text }: FieldProps) {
  return (
    <label class="field">
      <span>{text}</span>
      <input
        value={form.value[name]}
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => {
          form.value = { ...form.value, [name]: event.currentTarget.value };
        }}
      />
    </label>
  );
}

function Amount({ form, name, text }: FieldProps) {
  return (
    <label class="field">
      <span>{text}</span>
      <input
        type="number"
        min="1"
        step="any"
        value={form.value[name]}
        onInput={(event) => {
          form.value = { ...form.value, [name]: event.currentTarget.value };
        }}
      />
    </label>
  );
}

function Lines({ form, name, text }: FieldProps) {
  return (
    <label class="field">
      <span>{text}</span>
      <textarea
        class="code"
        rows={3}
        spellcheck={false}
        value={form.value[name]}
        onInput={(event) => {
          form.value = { ...form.value, [name]: event.currentTarget.value };
        }}
      />
    </label>
  );
}

/** A value, and what is shown for it. */
type Words = readonly (readonly [value: string, text?: string])[];

function beforeWords(names: readonly string[]): Words {
  return [["", "last"], ...names.map((name) => [name, `before ${name}`] as const)];
}

interface ChoiceProps extends PartProps {
  readonly name: Texts | "architecture";
  readonly text: string;
  readonly words: Words;
}

function Choice({ form, name, text, words }: ChoiceProps) {
  return (
    <label class="field">
      <span>{text}</span>
      <select
        value={form.value[name]}
        onChange={(event) => {
          form.value = { ...form.value, [name]: event.currentTarget.value };
        }}
      >
        {words.map(([value, shown = value]) => (
          <option key={value} value={value}>
            {shown}
          </option>
        ))}
      </select>
    </label>
  );
}
