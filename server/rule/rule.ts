/** A rule as it comes from outside: the API's body, or an entry of `rules:` in a rack file. */

import { type Static, Type } from "typebox";
import { Value } from "typebox/value";
import { type Rule, wipes } from "#protocol/rule.ts";
import { InvalidInputError } from "../errors.ts";

const strict = { additionalProperties: false } as const;
const listOf = (pattern: string) =>
  Type.Array(Type.String({ pattern }), { minItems: 1, maxItems: 512 });

export const tagPattern = "^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$";
const placeName = "(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?|\\*)";

const matchSchema = Type.Object(
  {
    architecture: Type.Optional(Type.Union([Type.Literal("amd64"), Type.Literal("arm64")])),
    model: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
    places: Type.Optional(listOf(`^${placeName}(?:/${placeName}){0,2}$`)),
    tags: Type.Optional(listOf(tagPattern)),
    serials: Type.Optional(listOf("^[\\x21-\\x7e][\\x20-\\x7e]{0,127}$")),
    minMemoryMiB: Type.Optional(Type.Integer({ minimum: 1, maximum: 1 << 26 })),
    minDiskGB: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 1e6 })),
  },
  strict,
);

export const ruleSchema = Type.Object(
  {
    name: Type.String({ pattern: "^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$" }),
    match: Type.Optional(matchSchema),
    image: Type.Optional(Type.String({ pattern: "^[a-z0-9][a-z0-9._-]{0,63}$" })),
    disk: Type.Optional(Type.String({ pattern: "^[A-Za-z0-9_.:-]{1,64}$" })),
    authorizedKeys: Type.Optional(
      Type.Array(Type.String({ pattern: "^[\\x20-\\x7e]{1,8192}$" }), { maxItems: 64 }),
    ),
    burnInSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 86_400 })),
    wipe: Type.Optional(Type.Union(wipes.map((one) => Type.Literal(one)))),
  },
  strict,
);

/** @throws InvalidInputError naming each wrong member */
export function parseRule(value: unknown): Rule {
  const wrong = Value.Errors(ruleSchema, value).map(({ keyword, instancePath, message }) => ({
    pointer: instancePath,
    detail: keyword === "boolean" ? "is no member of a rule" : message,
  }));
  const [first] = wrong;
  if (first) {
    throw new InvalidInputError(`rule${first.pointer} ${first.detail}`, wrong);
  }
  const rule = value as Static<typeof ruleSchema>;
  return { ...rule, match: rule.match ?? {} };
}
