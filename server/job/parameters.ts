/** Checks a job's parameters, as they come from outside, against a kind's schema. */

import type { Static, TSchema } from "typebox";
import { Value } from "typebox/value";
import { InvalidInputError } from "../errors.ts";

/** @throws InvalidInputError with a pointer below `/parameters` for each wrong member. */
export function check<Schema extends TSchema>(schema: Schema, value: unknown): Static<Schema> {
  const filled = Value.Default(schema, structuredClone(value ?? {}));
  const wrong = Value.Errors(schema, filled);
  const [first] = wrong;
  if (!first) return filled as Static<Schema>;
  throw new InvalidInputError(
    `parameters${first.instancePath} ${first.message}`,
    wrong.map((one) => ({ pointer: `/parameters${one.instancePath}`, detail: one.message })),
  );
}
