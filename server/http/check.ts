/** Checks a value from outside against the schema of a route row. */

import type { TSchema } from "typebox";
import { Value } from "typebox/value";
import { InvalidInputError } from "../errors.ts";

/**
 * @param place - `params`, `query` or `body`, for the message
 * @param fromText - whether numbers and booleans arrive as text, as in a query string
 * @throws InvalidInputError naming each wrong field by JSON pointer.
 */
export function checkInput(
  schema: TSchema | undefined,
  value: unknown,
  place: "params" | "query" | "body",
  fromText: boolean,
): unknown {
  if (!schema) return value;
  const filled = Value.Default(schema, fromText ? Value.Convert(schema, value) : value);
  const errors = [...Value.Errors(schema, filled)];
  if (errors.length === 0) return filled;
  throw new InvalidInputError(
    `${place} not valid: ${errors[0]?.instancePath || "/"} ${errors[0]?.message}`,
    errors.map((error) => ({ pointer: error.instancePath || "/", detail: error.message })),
  );
}
