/**
 * What a power driver is. One file in `drivers/` per kind of hardware;
 * `registry.ts` is the list of them, and `test/power/contract.ts` the promises
 * below as tests that run over every one of them.
 */

import { type Static, type TObject, type TProperties, type TSchema, Type } from "typebox";
import { Value } from "typebox/value";
import { type Milliseconds, milliseconds } from "#protocol/brand.ts";
import type { PowerState } from "#protocol/node.ts";

/**
 * Switches outlets of one kind: a GPIO relay channel, a PDU outlet, a PoE port, a BMC.
 *
 * Nothing is switched, opened or started before `set` or `query` is called: a
 * server that starts leaves every outlet as it is. `query` never changes what
 * the outlet does, on no hardware.
 */
export interface PowerDriver<Settings> {
  /** Name used in the rack file and the API: `qemu`, `gpio-relay`, `manual`. */
  readonly kind: string;
  /** One line for people who choose a driver. */
  readonly about: string;
  /** The rack file's `outlet.settings` block; forms and help are made from it. Secrets are {@link secret}. */
  readonly schema: TObject;
  /** Whether `query` can tell more than `unknown`; then what was set is read back. */
  readonly canQuery: boolean;
  /** Checks the rack file's `outlet.settings` block. @throws RangeError naming the wrong field, never its value if it is secret. */
  parse(settings: unknown): Settings;
  /** Idempotent: switching on what is on is not an error. @throws PowerUnreachableError, PowerRefusedError */
  set(settings: Settings, state: "on" | "off", signal: AbortSignal): Promise<void>;
  /** `unknown` where the hardware cannot be asked. @throws PowerUnreachableError, PowerRefusedError */
  query(settings: Settings, signal: AbortSignal): Promise<PowerState>;
  /** Where one device has many outlets: its name, so that it is not asked too much at once. */
  deviceOf?(settings: Settings): string;
  /** Least time an outlet stays off in a power cycle, so that capacitors drain. `offSeconds` of an outlet overrides it. */
  readonly minimumOffTime: Milliseconds;
  /** How long the hardware may take until `query` tells what was set. */
  readonly settleTime: Milliseconds;
}

/** A driver as its file writes it: the schema and what cannot be said in one. */
export interface DriverDefinition<Members extends TProperties> {
  readonly kind: string;
  readonly about: string;
  readonly settings: Members;
  readonly canQuery: boolean;
  readonly minimumOffTime: Milliseconds;
  readonly settleTime?: Milliseconds;
  deviceOf?(settings: SettingsOf<Members>): string;
  /** What a schema cannot say. @throws RangeError naming the wrong field. */
  check?(settings: SettingsOf<Members>): void;
  set(settings: SettingsOf<Members>, state: "on" | "off", signal: AbortSignal): Promise<void>;
  query(settings: SettingsOf<Members>, signal: AbortSignal): Promise<PowerState>;
}

export type SettingsOf<Members extends TProperties> = Static<TObject<Members>>;

/** A member that is never shown, logged, or put into an argument list. */
export function secret<Options extends { readonly description: string }>(options: Options) {
  return Type.String({ ...options, writeOnly: true, minLength: 1, maxLength: 256 });
}

export function isSecret(schema: TSchema): boolean {
  return (schema as { writeOnly?: boolean }).writeOnly === true;
}

/** Host name or address. No brackets, no port, nothing a program could take for an option. */
export const hostSetting = (description: string) =>
  Type.String({
    description,
    pattern: "^[A-Za-z0-9](?:[A-Za-z0-9.:_-]{0,252}[A-Za-z0-9])?$",
    examples: ["10.0.0.5"],
  });

/** One of a closed list of words. */
export function choice<const Words extends readonly string[]>(
  words: Words,
  options: { readonly description: string; readonly default?: Words[number] },
) {
  return Type.Unsafe<Words[number]>({ type: "string", enum: words, ...options });
}

export const portSetting = (value: number) =>
  Type.Integer({ description: "port", minimum: 1, maximum: 65535, default: value });

/** {@link PowerDriver.deviceOf} where both name it. */
export function hostAndPort({
  host,
  port,
}: {
  readonly host: string;
  readonly port: number;
}): string {
  return `${host}:${port}`;
}

/** An outlet whose load needs longer than the driver's kind usually does. */
const offSeconds = Type.Optional(
  Type.Number({
    description: "least time off in a power cycle, in seconds",
    minimum: 0,
    maximum: 60,
  }),
);

export function definePowerDriver<Members extends TProperties>(
  definition: DriverDefinition<Members>,
): PowerDriver<SettingsOf<Members>> {
  const schema = Type.Object(
    { ...definition.settings, offSeconds },
    { additionalProperties: false },
  );
  return {
    ...definition,
    settleTime: definition.settleTime ?? milliseconds(0),
    schema,
    parse(settings) {
      const parsed = checkSettings(schema, settings) as SettingsOf<Members>;
      definition.check?.(parsed);
      return parsed;
    },
  };
}

/** Fills the defaults in. @throws RangeError naming the wrong member and what would fit. */
function checkSettings(schema: TObject, settings: unknown): unknown {
  if (settings === null || typeof settings !== "object" || Array.isArray(settings)) {
    throw new RangeError("settings are not written as members");
  }
  const filled = Value.Default(schema, structuredClone(settings));
  const members = Object.keys(schema.properties);
  const stranger = Object.keys(settings).find((name) => !members.includes(name));
  if (stranger !== undefined) {
    throw new RangeError(`settings have no member ${stranger}; there are: ${members.join(", ")}`);
  }
  const missing = schema.required?.find((name) => !(name in (filled as object)));
  if (missing !== undefined)
    throw new RangeError(`${missing} is missing${aboutOf(schema, missing)}`);
  const [first] = Value.Errors(schema, filled);
  if (!first) return filled;
  const path = first.instancePath.split("/").slice(1);
  const [name = "settings"] = path;
  throw new RangeError(`${path.join(".") || name} ${reasonOf(first)}${aboutOf(schema, name)}`);
}

function reasonOf({ message, params }: { message: string; params: unknown }): string {
  const { allowedValues } = params as { allowedValues?: readonly unknown[] };
  return allowedValues ? `must be one of ${allowedValues.join(", ")}` : message;
}

function aboutOf(schema: TObject, name: string): string {
  const { description } = (schema.properties[name] ?? {}) as { description?: string };
  return description === undefined ? "" : ` (${description})`;
}
