/** Power of slots, by node selector or by slot. */

import { Type } from "typebox";
import type { SlotRef } from "#protocol/node.ts";
import { InvalidInputError, NotFoundError, ProvisionError } from "../../errors.ts";
import { resolveSelector } from "../../job/selector.ts";
import { powerDrivers } from "../../power/registry.ts";
import { type Route, route } from "../route.ts";
import { oneOf, pageOf, selectorSchema, slotSchema } from "../schemas.ts";
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

interface Switching {
  readonly places: readonly Place[];
  /** Common outlets that were told already: by one of their slots for all of them. */
  readonly stacks: Map<string, Promise<void>>;
  readonly who: string;
  readonly admin: Admin;
}

function switchOnce(
  { slot, ...rest }: Place,
  state: "on" | "off" | "cycle",
  { places, stacks, who, admin }: Switching,
): Promise<void> {
  if (state === "cycle") return admin.power.cycle(slot, who);
  if (!isWholeStack({ slot, ...rest }, places, admin)) return admin.power.set(slot, state, who);
  const key = `${slot.rack}/${slot.stack}`;
  const told = stacks.get(key) ?? admin.power.setStack(slot, state, who);
  stacks.set(key, told);
  return told;
}

export const powerRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/power-drivers",
    role: "viewer",
    name: "list-power-drivers",
    summary: "Kinds of outlets, and the settings each wants, as JSON schema",
    response: pageOf(
      Type.Object({
        kind: Type.String(),
        about: Type.String(),
        canQuery: Type.Boolean(),
        minimumOffSeconds: Type.Number(),
        settings: Type.Unknown(),
      }),
    ),
    handler: () => ({
      items: powerDrivers.map(({ kind, about, canQuery, minimumOffTime, schema }) => ({
        kind,
        about,
        canQuery,
        minimumOffSeconds: minimumOffTime / 1000,
        settings: schema,
      })),
    }),
  }),
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
      const stacks = new Map<string, Promise<void>>();
      // Side by side: an outlet that hangs keeps nobody waiting; in-rush is the room's business.
      const items = await Promise.all(
        places.map((place) =>
          attempt(place, async () => {
            await switchOnce(place, body.state, { places, stacks, who, admin });
            return {};
          }),
        ),
      );
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
