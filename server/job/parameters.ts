/** Checks what comes from outside (a kind's parameters, a roll-out) against a schema. */

import { type Static, type TSchema, Type } from "typebox";
import { Value } from "typebox/value";
import { InvalidInputError } from "../errors.ts";

/** Of an installed system, and not its root: no `..`, no slash at the end. */
export const absolutePath = Type.String({
  pattern: "^(/(?!\\.{1,2}(/|$))[^/\\u0000-\\u001f]+)+$",
  maxLength: 4095,
});

/** @throws InvalidInputError with a pointer below `/<name>` for each wrong member. */
export function check<Schema extends TSchema>(
  schema: Schema,
  value: unknown,
  name = "parameters",
): Static<Schema> {
  const filled = Value.Default(schema, structuredClone(value ?? {}));
  const wrong = Value.Errors(schema, filled);
  const [first] = wrong;
  if (!first) return filled as Static<Schema>;
  throw new InvalidInputError(
    `${name}${first.instancePath} ${first.message}`,
    wrong.map((one) => ({ pointer: `/${name}${one.instancePath}`, detail: one.message })),
  );
}
