/** Power of slots, by node selector or by slot. */

import { Type } from "typebox";
import type { JobId } from "#protocol/brand.ts";
import { isSameSlot, type Node, type PowerAnswer, type SlotRef, slotText } from "#protocol/node.ts";
import { createAudit } from "../../audit/audit.ts";
import {
  InvalidInputError,
  NotFoundError,
  PowerRefusedError,
  ProvisionError,
} from "../../errors.ts";
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
  /** The job that shuts the node's system down first, and switches then. */
  jobId: Type.Optional(Type.String()),
  reason: Type.Optional(Type.String()),
});

interface Place {
  readonly slot: SlotRef;
  readonly node?: Node;
}

type Outcome = Pick<PowerAnswer, "state" | "jobId">;

interface Order {
  readonly selector?: string;
  readonly slot?: SlotRef;
  readonly state: "on" | "off" | "cycle";
  readonly force: boolean;
  readonly warnSeconds: number;
}

/** @throws InvalidInputError when nothing is named, or a node has no slot. */
function placesOf(
  { selector, slot }: { readonly selector?: string; readonly slot?: SlotRef },
  admin: Admin,
): readonly Place[] {
  if (slot) return [placeAt(slot, admin)];
  if (selector === undefined) throw new InvalidInputError("name a selector or a slot");
  const parts = selector.split(",").map((part) => part.trim());
  const places = parts.flatMap((part) => placesIn(part, admin) ?? placesOfNodes(part, admin));
  return [...new Map(places.map((place) => [slotText(place.slot), place])).values()];
}

/** Outlets are there before their nodes are: `rack:lab`, `stack:lab/a` and `slot:lab/a/1` mean places here. */
function placesIn(part: string, admin: Admin): readonly Place[] | undefined {
  const [form = "", path = ""] = part.split(":");
  const depth = ["rack", "stack", "slot"].indexOf(form) + 1;
  const [rackName = "", stackName, slotName, ...more] = path.split("/");
  const named = [rackName, stackName, slotName, ...more].filter((name) => name !== undefined);
  const rack = depth === named.length ? admin.store.racks.get(rackName) : undefined;
  const found = rack?.stacks
    .filter(({ name }) => stackName === undefined || name === stackName)
    .flatMap((stack) =>
      stack.slots
        .filter(({ name }) => slotName === undefined || name === slotName)
        .map(({ name }) => placeAt({ rack: rackName, stack: stack.name, slot: name }, admin)),
    );
  return found?.length ? found : undefined;
}

function placeAt(slot: SlotRef, { nodes }: Admin): Place {
  const node = nodes.list().find((one) => one.slot && isSameSlot(one.slot, slot));
  return { slot, ...(node && { node }) };
}

function placesOfNodes(selector: string, admin: Admin): readonly Place[] {
  return resolveSelector(selector, admin.nodes.list(), admin.library.list()).map((id) => {
    const node = admin.nodes.get(id);
    if (!node) throw new NotFoundError(`no node ${id}`);
    if (!node.slot) throw new InvalidInputError(`node ${node.name} is in no slot`);
    return { slot: node.slot, node };
  });
}

/** Each slot on its own: one outlet that fails does not stop the rest. */
async function attempt({ slot, node }: Place, work: () => Promise<Outcome>): Promise<PowerAnswer> {
  const place = { slot, ...(node && { node: node.name }) };
  try {
    return { ...place, ok: true, ...(await work()) };
  } catch (error) {
    if (!(error instanceof ProvisionError)) throw error;
    return { ...place, ok: false, reason: error.message };
  }
}

/** Places behind one outlet, which are switched together or not at all. */
interface Circuit {
  readonly places: readonly Place[];
  /** Slots that it feeds and nobody chose: it may not be cut. */
  readonly isPartly: boolean;
}

function circuitsOf(places: readonly Place[], { power }: Admin): readonly Circuit[] {
  const circuits = new Map<string, Circuit>();
  for (const { slot } of places) {
    const fed = power.slotsOn(slot);
    const chosen = places.filter((one) => fed.some((other) => isSameSlot(one.slot, other)));
    const key = fed.map(slotText).join(" ");
    circuits.set(key, { places: chosen, isPartly: chosen.length < fed.length });
  }
  return [...circuits.values()];
}

/** A system that runs there is shut down first. One that is held back is not listened to. */
function isUp({ node }: Place): boolean {
  return node?.connection === "online" && node.agent !== undefined && !node.quarantined;
}

/** One job for all nodes whose systems go down first; its id, or none where there are none. */
function shutDownFirst(
  circuits: readonly Circuit[],
  { selector, slot, state, warnSeconds }: Order,
  who: string,
  admin: Admin,
): JobId | undefined {
  const nodes = circuits
    .flatMap(({ places }) => places.filter(isUp))
    .flatMap(({ node }) => node ?? []);
  if (nodes.length === 0 || state === "on") return undefined;
  const named = selector ?? (slot ? `slot:${slotText(slot)}` : "");
  const job = admin.jobs.create({
    kind: "shutdown",
    parameters: { warnSeconds, outlet: state },
    selector: named,
    nodes: nodes.map(({ id }) => id),
    createdBy: who,
  });
  createAudit(admin).append(who, `power ${state}`, named, `after shutdown, job ${job.id}`);
  return job.id;
}

async function switchNow(
  { slot }: Place,
  { isPartly }: Circuit,
  state: Order["state"],
  who: string,
  { power }: Admin,
): Promise<void> {
  if (state === "on") return await power.set(slot, "on", who);
  if (!isPartly) return await power.cut(slot, state === "cycle", who);
  throw new PowerRefusedError(
    `slot ${slotText(slot)} shares its outlet with ${power.slotsOn(slot).length - 1} others: choose the whole stack`,
  );
}

async function switchAll(order: Order, who: string, admin: Admin): Promise<readonly PowerAnswer[]> {
  const { state, force } = order;
  const circuits = circuitsOf(placesOf(order, admin), admin);
  const isGentle = state !== "on" && !force;
  const waiting = circuits.filter(
    ({ places, isPartly }) => isGentle && !isPartly && places.some(isUp),
  );
  const jobId = shutDownFirst(waiting, order, who, admin);
  const told = circuits.map(async (circuit) => {
    const [first] = circuit.places;
    // Side by side: an outlet that hangs keeps nobody waiting; in-rush is the room's business.
    const outcome =
      first && !waiting.includes(circuit)
        ? switchNow(first, circuit, state, who, admin).then(() => ({}))
        : Promise.resolve(jobId === undefined ? {} : { jobId });
    return await Promise.all(circuit.places.map((place) => attempt(place, () => outcome)));
  });
  return (await Promise.all(told)).flat();
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
    summary:
      "Switch outlets on, off, or off and on again; a system that runs there is shut down first",
    isAuditedByRoom: true,
    body: Type.Object(
      {
        selector: Type.Optional(selectorSchema),
        slot: Type.Optional(slotSchema),
        state: oneOf(["on", "off", "cycle"]),
        /** Cut the power at once, whatever runs there. */
        force: Type.Boolean({ default: false }),
        /** For whoever is logged in there. */
        warnSeconds: Type.Integer({ minimum: 0, maximum: 3600, default: 0 }),
      },
      { additionalProperties: false },
    ),
    response: Type.Object({ items: Type.Array(resultSchema) }),
    handler: async ({ body, who }, admin) => ({ items: await switchAll(body, who, admin) }),
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
