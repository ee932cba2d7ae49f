/**
 * What a rack file cannot know of itself: whether it fits the configured subnets,
 * the other racks, the reservations and the nodes; and, where asked, what its
 * outlets say. Nothing is changed.
 */

import { type Ipv4Address, ipv4ToNumber, parseIpv4Address } from "#protocol/brand.ts";
import { type Node, type SlotRef, slotText } from "#protocol/node.ts";
import type { Outlet, Rack, Slot, Stack } from "#protocol/rack.ts";
import type { Finding } from "#protocol/timeline.ts";
import type { AddressRange, Subnet } from "../config.ts";
import { ProvisionError } from "../errors.ts";
import type { Power } from "../power/power.ts";
import { driverNamed } from "../power/registry.ts";
import { identityOf, outletsOf } from "../power/secrets.ts";
import type { Reservation, Store } from "../store/store.ts";
import { parseNetwork } from "./plan.ts";

export interface CheckContext {
  readonly subnets: readonly Subnet[];
  /** The server's own on those subnets. */
  readonly ownAddresses: readonly Ipv4Address[];
  readonly store: {
    readonly nodes: Pick<Store["nodes"], "list">;
    readonly reservations: Pick<Store["reservations"], "list">;
  };
  /** All others that there are. */
  readonly others: readonly Rack[];
}

interface Place {
  readonly ref: SlotRef;
  readonly stack: Stack;
  readonly slot: Slot;
}

/** Problems first. */
export function checkRack(rack: Rack, context: CheckContext): readonly Finding[] {
  const places = placesOf(rack);
  const findings = [
    ...unknownSubnets(rack, context),
    ...places.flatMap((place) => addressFindings(rack, place, context)),
    ...roomFindings(rack, places, context),
    ...otherRacks(rack, context),
    ...outletsMissing(places),
    ...nodesWithoutSlot(rack, places, context.store.nodes.list()),
  ];
  const rank = ({ severity }: Finding) => ["problem", "hint", "ok"].indexOf(severity);
  return findings.toSorted((a, b) => rank(a) - rank(b));
}

/** Asks every outlet, some at a time as {@link Power} allows. */
export async function checkOutlets(
  rack: Rack,
  power: Pick<Power, "probe">,
): Promise<readonly Finding[]> {
  const asked = rack.stacks.flatMap((stack) => [
    ...(stack.outlet ? [{ outlet: stack.outlet, where: `stack ${rack.name}/${stack.name}` }] : []),
    ...stack.slots.flatMap(({ name, outlet }) =>
      outlet ? [{ outlet, where: `slot ${rack.name}/${stack.name}/${name}` }] : [],
    ),
  ]);
  return await Promise.all(asked.map(({ outlet, where }) => checkOutlet(outlet, where, power)));
}

async function checkOutlet(
  outlet: Outlet,
  where: string,
  power: Pick<Power, "probe">,
): Promise<Finding> {
  const what = `outlet of ${where} (${outlet.driver})`;
  try {
    const state = await power.probe(outlet);
    if (state !== "unknown")
      return { code: "outlet-answers", severity: "ok", text: `${what} is ${state}` };
    const remedy = "switch it by hand and see whether it follows: power on, power off";
    return {
      code: "outlet-cannot-tell",
      severity: "hint",
      text: `${what} cannot be asked`,
      remedy,
    };
  } catch (error) {
    if (!(error instanceof ProvisionError)) throw error;
    const remedy =
      error.code === "power-unreachable"
        ? "check its address, its cable, and whether this machine may reach it"
        : "correct its settings: power drivers KIND lists them";
    return { code: error.code, severity: "problem", text: `${what}: ${error.message}`, remedy };
  }
}

function unknownSubnets(rack: Rack, { subnets }: CheckContext): readonly Finding[] {
  const named = new Set([rack.subnet, ...rack.stacks.map((stack) => stack.subnet)]);
  const known = subnets.map(({ cidr }) => cidr);
  return [...named].flatMap((cidr) =>
    cidr === undefined || known.includes(cidr)
      ? []
      : [
          problem(
            "subnet-unknown",
            `subnet ${cidr} is not in the configuration`,
            `name one of ${known.join(", ")}, or add it to the configuration and start anew`,
          ),
        ],
  );
}

function addressFindings(rack: Rack, place: Place, context: CheckContext): readonly Finding[] {
  const { address } = place.slot;
  if (address === undefined) return [];
  const own = `${slotText(place.ref)}: address ${address}`;
  const one = parseIpv4Address(address);
  const subnet = context.subnets.find(({ cidr }) => isOn(one, cidr));
  if (!subnet) {
    const text = `${own} is on no configured subnet`;
    return [problem("address-outside", text, "choose another, or configure its subnet")];
  }
  const wanted = place.stack.subnet ?? rack.subnet;
  const found: Finding[] = [];
  if (subnet.pool && isIn(one, subnet.pool)) {
    const { first, last } = subnet.pool;
    const text = `${own} is in the pool ${first} - ${last}, which strangers get addresses from`;
    found.push(
      problem("address-in-pool", text, "choose one outside of the pool, or shrink the pool"),
    );
  }
  if (one === subnet.router || context.ownAddresses.includes(one)) {
    const whose = one === subnet.router ? "the router's" : "this server's own";
    found.push(problem("address-taken", `${own} is ${whose}`, "choose another"));
  }
  if (wanted === undefined && context.subnets.length > 1) {
    const text = `${own} is on ${subnet.cidr}, which the file does not name`;
    found.push({
      code: "subnet-unnamed",
      severity: "hint",
      text,
      remedy: `write subnet: ${subnet.cidr}`,
    });
  }
  const holder = context.store.reservations.list().find((other) => other.address === address);
  if (holder && !isHolderOf(holder, place.ref)) {
    const where = holder.slot ? ` (slot ${slotText(holder.slot)})` : "";
    const remedy = `choose another, or end that reservation: lease forget ${holder.mac}`;
    found.push(problem("address-taken", `${own} is reserved for ${holder.mac}${where}`, remedy));
  }
  return found;
}

/** Slots without an address of their own take the next free one of the reserved range. */
function roomFindings(
  rack: Rack,
  places: readonly Place[],
  { subnets, store }: CheckContext,
): readonly Finding[] {
  return subnets.flatMap(({ cidr, reserved }) => {
    const isHere = ({ stack, slot }: Place) =>
      (stack.subnet ?? rack.subnet ?? (subnets.length === 1 ? cidr : undefined)) === cidr &&
      slot.address === undefined;
    const wanted = places.filter(isHere);
    const reservations = store.reservations.list();
    const settled = wanted.filter(({ ref }) => reservations.some((one) => isHolderOf(one, ref)));
    const used = new Set([
      ...reservations.map(({ address }) => address),
      ...places.flatMap(({ slot }) =>
        slot.address === undefined ? [] : [parseIpv4Address(slot.address)],
      ),
    ]);
    const taken = [...used].filter((address) => isIn(address, reserved)).length;
    const free =
      Math.max(0, ipv4ToNumber(reserved.last) - ipv4ToNumber(reserved.first) + 1) - taken;
    const missing = wanted.length - settled.length - free;
    if (missing <= 0) return [];
    const text = `${wanted.length} slots want an address of ${cidr}, and its reserved range has ${Math.max(0, free)} free`;
    return [
      problem(
        "too-few-addresses",
        text,
        `widen reserved by ${missing}, or give the slots addresses`,
      ),
    ];
  });
}

function otherRacks(rack: Rack, { others }: CheckContext): readonly Finding[] {
  const theirs = new Map<string, string>();
  for (const other of others) {
    for (const [key] of claimsOf(other)) theirs.set(key, other.name);
  }
  return claimsOf(rack).flatMap(([key, what]) => {
    const other = theirs.get(key);
    if (other === undefined) return [];
    const text = `${what} is also in rack ${other}`;
    return [
      problem("in-another-rack", text, `take it out of one of the racks: rack edit ${other}`),
    ];
  });
}

/** What can be in one rack only, with a key to compare. */
function claimsOf(rack: Rack): readonly (readonly [key: string, what: string])[] {
  const slots = rack.stacks.flatMap((stack) => stack.slots);
  return [
    ...slots.map(({ hostname }) => [`name ${hostname}`, `host name ${hostname}`] as const),
    ...slots.flatMap(({ address }) =>
      address === undefined ? [] : [[`address ${address}`, `address ${address}`] as const],
    ),
    ...outletsOf(rack).flatMap((outlet) => {
      const driver = driverNamed(outlet.driver);
      if (!driver || driver.kind === "manual") return [];
      const identity = identityOf(driver, outlet.settings);
      return [[identity, `outlet ${identity}`] as const];
    }),
  ];
}

function outletsMissing(places: readonly Place[]): readonly Finding[] {
  const dark = places.filter(({ stack, slot }) => !stack.outlet && !slot.outlet);
  if (dark.length === 0) return [];
  const names = dark
    .slice(0, 4)
    .map(({ ref }) => slotText(ref))
    .join(", ");
  const more = dark.length > 4 ? ` and ${dark.length - 4} more` : "";
  const text = `${names}${more}: no outlet, so nothing can switch or learn them`;
  return [
    {
      code: "outlet-missing",
      severity: "hint",
      text,
      remedy: "give them an outlet, manual if need be",
    },
  ];
}

function nodesWithoutSlot(
  rack: Rack,
  places: readonly Place[],
  nodes: readonly Node[],
): readonly Finding[] {
  const known = new Set(places.map(({ ref }) => slotText(ref)));
  return nodes.flatMap(({ name, slot, state }): readonly Finding[] => {
    if (slot?.rack !== rack.name || state === "retired" || known.has(slotText(slot))) return [];
    const text = `node ${name} is in slot ${slotText(slot)}, which the file does not have`;
    return [
      {
        code: "node-without-slot",
        severity: "hint",
        text,
        remedy: `learn the rack anew, or node retire ${name}`,
      },
    ];
  });
}

function placesOf(rack: Rack): readonly Place[] {
  return rack.stacks.flatMap((stack) =>
    stack.slots.map((slot) => ({
      ref: { rack: rack.name, stack: stack.name, slot: slot.name },
      stack,
      slot,
    })),
  );
}

function problem(code: string, text: string, remedy: string): Finding {
  return { code, severity: "problem", text, remedy };
}

function isHolderOf({ slot }: Reservation, ref: SlotRef): boolean {
  return slot !== undefined && slotText(slot) === slotText(ref);
}

function isOn(address: Ipv4Address, cidr: string): boolean {
  const { first, last } = parseNetwork(cidr);
  const number = ipv4ToNumber(address);
  return number >= first && number <= last;
}

function isIn(address: Ipv4Address, { first, last }: AddressRange): boolean {
  const number = ipv4ToNumber(address);
  return number >= ipv4ToNumber(first) && number <= ipv4ToNumber(last);
}
