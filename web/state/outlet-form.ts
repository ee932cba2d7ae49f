/** The form of an outlet, from the JSON schema of its driver. Knows nothing of the browser, so that ava tests it. */

export interface Driver {
  readonly kind: string;
  readonly about: string;
  readonly settings: {
    readonly properties: Readonly<Record<string, MemberSchema>>;
    readonly required?: readonly string[];
  };
}

interface MemberSchema {
  readonly type?: string;
  readonly description?: string;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly { readonly const?: unknown }[];
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly writeOnly?: boolean;
}

/** How a member is asked for. `lines`: a list, one value in each line. */
export type FieldKind = "text" | "secret" | "number" | "flag" | "choice" | "lines";

export interface Field {
  readonly name: string;
  readonly kind: FieldKind;
  readonly about: string;
  readonly isNeeded: boolean;
  /** What it is when nothing is written. */
  readonly usual?: string;
  readonly example?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  /** Of a choice; an optional one begins with nothing. */
  readonly words: readonly string[];
}

export type Values = Readonly<Record<string, string>>;
type Settings = Readonly<Record<string, unknown>>;

export function fieldsOf({ settings }: Driver): readonly Field[] {
  const needed = settings.required ?? [];
  return Object.entries(settings.properties).map(([name, member]) => {
    const { description = "", minimum, maximum, default: usual, examples = [] } = member;
    const [example] = examples;
    return {
      name,
      kind: kindOf(member),
      about: description,
      isNeeded: needed.includes(name) && usual === undefined,
      ...(usual !== undefined && { usual: String(usual) }),
      ...(example !== undefined && { example: written(example) }),
      ...(minimum !== undefined && { minimum }),
      ...(maximum !== undefined && { maximum }),
      words: (member.enum ?? member.anyOf?.map((one) => one.const) ?? []).map(String),
    };
  });
}

function kindOf({ type, writeOnly, enum: words, anyOf }: MemberSchema): FieldKind {
  if (writeOnly) return "secret";
  if (words || anyOf) return "choice";
  if (type === "integer" || type === "number") return "number";
  if (type === "boolean") return "flag";
  return type === "array" ? "lines" : "text";
}

/** What the form shows of settings that there are; a kept secret shows nothing. */
export function valuesOf(fields: readonly Field[], settings: Settings): Values {
  return Object.fromEntries(
    fields.flatMap(({ name, kind }) => {
      const value = settings[name];
      return value === undefined || kind === "secret" ? [] : [[name, written(value)]];
    }),
  );
}

/** Settings as the form says them: what is empty is left out, and a secret that is empty stays the kept one. */
export function settingsOf(
  { settings: { properties } }: Driver,
  fields: readonly Field[],
  values: Values,
  before: Settings,
): Settings {
  return Object.fromEntries(
    fields.flatMap(({ name, kind }) => {
      const text = values[name] ?? "";
      if (text !== "") return [[name, valueFrom(text, kind, properties[name])]];
      return kind === "secret" && isKept(before[name]) ? [[name, { kept: true }]] : [];
    }),
  );
}

export function isKept(value: unknown): boolean {
  return (value as { readonly kept?: unknown } | null | undefined)?.kept === true;
}

function valueFrom(text: string, kind: FieldKind, schema: MemberSchema | undefined): unknown {
  switch (kind) {
    case "number":
      return Number(text);
    case "flag":
      return text === "true";
    case "lines":
      return text.split("\n").filter((line) => line !== "");
    case "choice": {
      const constants = schema?.anyOf?.map((one) => one.const) ?? [];
      return constants.find((one) => String(one) === text) ?? text;
    }
    case "text":
    case "secret":
      return text;
    default:
      return kind satisfies never;
  }
}

function written(value: unknown): string {
  return Array.isArray(value) ? value.join("\n") : String(value);
}
