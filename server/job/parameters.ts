/** Checks what comes from outside (a kind's parameters, a roll-out) against a schema. */

import type { Static, TSchema } from "typebox";
import { Value } from "typebox/value";
import { InvalidInputError } from "../errors.ts";

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
