/** Power of slots, by node selector or by slot. */

import { Type } from "typebox";
import type { SlotRef } from "#protocol/node.ts";
import { InvalidInputError, NotFoundError, ProvisionError } from "../../errors.ts";
import { resolveSelector } from "../../job/selector.ts";
import { type Route, route } from "../route.ts";
import { oneOf, selectorSchema, slotSchema } from "../schemas.ts";
import type { Admin } from "../services.ts";

const resultSchema = Type.Object({
  slot: slotSchema,
  node: Type.Optional(Type.String()),
  ok: Type.Boolean(),
  state: Type.Optional(oneOf(["on", "off", "unknown"])),
  reason: Type.Optional(Type.String()),
});

interface Place {
  readonly slot: SlotRef;
  readonly node?: string;
}

interface Result extends Place {
  readonly ok: boolean;
  readonly state?: string;
  readonly reason?: string;
}

/** @throws InvalidInputError when nothing is named, or a node has no slot. */
function placesOf(wanted: { selector?: string; slot?: SlotRef }, admin: Admin): readonly Place[] {
  if (wanted.slot) return [{ slot: wanted.slot }];
  if (wanted.selector === undefined) throw new InvalidInputError("name a selector or a slot");
  return resolveSelector(wanted.selector, admin.nodes.list()).map((id) => {
    const node = admin.nodes.get(id);
    if (!node) throw new NotFoundError(`no node ${id}`);
    if (!node.slot) throw new InvalidInputError(`node ${node.name} is in no slot`);
    return { slot: node.slot, node: node.name };
  });
}

/** Each slot on its own: one outlet that fails does not stop the rest. */
async function attempt(place: Place, work: () => Promise<Pick<Result, "state">>): Promise<Result> {
  try {
    return { ...place, ok: true, ...(await work()) };
  } catch (error) {
    if (!(error instanceof ProvisionError)) throw error;
    return { ...place, ok: false, reason: error.message };
  }
}

/** True when one outlet feeds the stack and every one of its slots was chosen: only then may it go off. */
function isWholeStack(place: Place, places: readonly Place[], { store }: Admin): boolean {
  const stack = store.racks
    .get(place.slot.rack)
    ?.stacks.find((one) => one.name === place.slot.stack);
  if (!stack?.outlet) return false;
  return stack.slots.every((slot) =>
    places.some((one) => sameStack(one.slot, place.slot) && one.slot.slot === slot.name),
  );
}

function sameStack(a: SlotRef, b: SlotRef): boolean {
  return a.rack === b.rack && a.stack === b.stack;
}

function switchPower(
  place: Place,
  state: "on" | "off" | "cycle",
  context: { whole: boolean; who: string; admin: Admin },
): Promise<void> {
  const { whole, who, admin } = context;
  if (state === "cycle") return admin.power.cycle(place.slot, who);
  if (whole) return admin.power.setStack(place.slot, state, who);
  return admin.power.set(place.slot, state, who);
}

export const powerRoutes: readonly Route[] = [
  route({
    method: "post",
    path: "/api/v1/power",
    role: "operator",
    name: "set-power",
    summary: "Switch outlets on, off, or off and on again",
    isAuditedByRoom: true,
    body: Type.Object(
      {
        selector: Type.Optional(selectorSchema),
        slot: Type.Optional(slotSchema),
        state: oneOf(["on", "off", "cycle"]),
      },
      { additionalProperties: false },
    ),
    response: Type.Object({ items: Type.Array(resultSchema) }),
    handler: async ({ body, who }, admin) => {
      const places = placesOf(body, admin);
      const items: Result[] = [];
      for (const place of places) {
        const whole = isWholeStack(place, places, admin);
        items.push(
          await attempt(place, async () => {
            await switchPower(place, body.state, { whole, who, admin });
            return {};
          }),
        );
      }
      return { items };
    },
  }),
  route({
    method: "get",
    path: "/api/v1/power",
    role: "viewer",
    name: "get-power",
    summary: "Ask the outlets of the selected nodes",
    query: Type.Object({ selector: selectorSchema }, { additionalProperties: false }),
    response: Type.Object({ items: Type.Array(resultSchema) }),
    handler: async ({ query }, admin) => ({
      items: await Promise.all(
        placesOf(query, admin).map((place) =>
          attempt(place, async () => ({ state: await admin.power.query(place.slot) })),
        ),
      ),
    }),
  }),
];
