/** One learning of a rack with faults drawn by seed, and what came of it. */

import type { MacAddress } from "#protocol/brand.ts";
import type { LearningStatus } from "#protocol/learning.ts";
import { createRandom } from "../../support/random.ts";
import {
  type Board,
  board,
  createWorld,
  type Death,
  ownRack,
  type RelayFault,
  sharedRack,
  type World,
} from "./world.ts";

export interface TrialOptions {
  readonly seed: number;
  /** One outlet for each stack, or for each slot. */
  readonly shape: "shared" | "own";
  readonly stacks: number;
  readonly perStack: number;
  readonly late?: number;
  readonly dead?: number;
  readonly foreign?: number;
  readonly fault?: RelayFault;
  readonly canQuery?: boolean;
  /** Of one outlet for each stack: agents hear of their ports by LLDP, and slots are looked at, not stacks. */
  readonly hearsPorts?: boolean;
  /** Process ends, each at a random write. */
  readonly kills?: number;
}

export interface Trial {
  readonly status: LearningStatus;
  /** Boards that are placed somewhere they are not. */
  readonly wrong: readonly string[];
  /** Boards that could be placed and are not. */
  readonly missing: readonly string[];
  /** Faults without a flag of their true reason. */
  readonly unflagged: readonly string[];
  readonly seconds: number;
  readonly writes: number;
  readonly kills: number;
  readonly world: World;
}

const slotTimeout = 120;
const lateTimeout = 300;

export async function runTrial(options: TrialOptions): Promise<Trial> {
  const {
    seed,
    shape,
    stacks,
    perStack,
    late = 0,
    dead = 0,
    foreign = 0,
    canQuery = true,
    hearsPorts = false,
  } = options;
  const random = createRandom(seed * 7919 + 17);
  for (let warmUp = 0; warmUp < 8; warmUp++) random.below(2);
  const between = (first: number, last: number) => first + random.below(last - first + 1);
  const pick = <T>(list: T[]): T => {
    const [taken] = list.splice(random.below(list.length), 1);
    if (taken === undefined) throw new RangeError("nothing left to pick from");
    return taken;
  };

  const outlets = Array.from({ length: stacks * perStack }, (_, index) => {
    const stack = `s${Math.floor(index / perStack) + 1}`;
    return shape === "shared" ? stack : `${stack}/${(index % perStack) + 1}`;
  });
  const faulty = options.fault && outlets[random.below(outlets.length)];
  const places = outlets.map((name, index) => ({ name, number: index + 1 }));
  const sound = places.filter(({ name }) => name !== faulty);
  const lateOnes = new Set(Array.from({ length: late }, () => pick(sound).number));
  const deadOnes = new Set(Array.from({ length: dead }, () => pick(sound).number));
  const manner = () =>
    // a ROM that gives up, and firmware that goes on for ever
    random.below(2) === 0
      ? { period: between(3000, 6000), attempts: 5 }
      : { period: between(3000, 25_000), attempts: 10_000 };
  const boards = places.map(({ name, number }): Board => {
    const delay = lateOnes.has(number)
      ? between(slotTimeout * 1000 + 5000, lateTimeout * 1000 - 20_000)
      : between(2000, 30_000);
    const change = { delay, ...manner(), isDead: deadOnes.has(number) };
    if (!hearsPorts) return board(number, name, change);
    const port = `${name}-${((number - 1) % perStack) + 1}`;
    const hears = [{ protocol: "lldp", chassis: "02:00:00:00:00:01", port }] as const;
    return board(number, name, { ...change, bootMs: between(10_000, 90_000), hears });
  });
  const strangers = Array.from({ length: foreign }, (_, index) =>
    board(1000 + index, undefined, {
      delay: between(0, stacks * 40_000),
      ...(random.below(4) === 0
        ? { period: 5000, attempts: between(1, 5) }
        : { period: between(3000, 25_000), attempts: 10_000 }),
    }),
  );
  const rack =
    shape === "shared" ? sharedRack(stacks, perStack, hearsPorts) : ownRack(stacks, perStack);
  const world = createWorld({
    rack,
    canQuery,
    boards: [...boards, ...strangers],
    faults: faulty && options.fault ? { [faulty]: options.fault } : {},
  });
  await world.clock.advance(between(0, 60_000));
  const startedAt = world.clock.monotonic();
  world.learning().start({ rack: "r" }, "ada");
  let kills = 0;
  let writes = 0;
  const armed = () => {
    writes += world.server().writes();
    if (kills >= (options.kills ?? 0)) return;
    kills += 1;
    world.server().killAt({
      at: pick(["before write", "after write", "after switch"] as Death["at"][]),
      number: between(1, 40),
    });
  };
  armed();
  await world.untilEnded(armed);
  writes += world.server().writes();

  const status = world.learning().status();
  const flaggedAs = (wanted: string) => status.flagged.some(({ reason }) => reason === wanted);
  const nodeOf = (mac: MacAddress) => world.store.nodes.byMac(mac);
  const placeOf = (mac: MacAddress) => {
    const slot = nodeOf(mac)?.slot;
    if (!slot) return undefined;
    return shape === "shared" ? slot.stack : `${slot.stack}/${slot.slot}`;
  };
  /** Where its switch says that it is. */
  const isElsewhere = ({ mac, hears }: Board) => {
    const slot = nodeOf(mac)?.slot;
    return hears !== undefined && slot && hears[0]?.port !== `${slot.stack}-${slot.slot}`;
  };
  const homeless = (one: Board) =>
    one.isDead === true ||
    one.outlet === undefined ||
    (one.outlet === faulty && options.fault !== "bouncing");
  const wrong = world.boards
    .filter((one) => placeOf(one.mac) !== undefined && placeOf(one.mac) !== one.outlet)
    .map((one) => `${one.mac} of ${one.outlet ?? "nowhere"} is in ${placeOf(one.mac)}`)
    .concat(world.boards.filter(isElsewhere).map(({ mac }) => `${mac} is not where it hangs`))
    .concat(hearsPorts && flaggedAs("unconfirmed") ? ["a slot is a guess"] : []);
  const missing = world.boards
    .filter((one) => !homeless(one) && placeOf(one.mac) === undefined)
    .map((one) => `${one.mac} of ${one.outlet}`);

  const flagged = (reason: string, where: { mac?: MacAddress; outlet?: string | undefined }) =>
    status.flagged.some(
      (flag) =>
        flag.reason === reason &&
        (where.mac === undefined || flag.mac === where.mac) &&
        (where.outlet === undefined ||
          flag.stack === where.outlet ||
          (flag.slot && `${flag.slot.stack}/${flag.slot.slot}` === where.outlet)),
    );
  const outletOf = (number: number) => boards[number - 1]?.outlet;
  const unflagged = [
    ...[...lateOnes]
      .filter(
        (number) =>
          !flagged("late", { mac: macNumbered(boards, number), outlet: outletOf(number) }),
      )
      .map((number) => `late ${outletOf(number)}`),
    ...[...deadOnes]
      .filter((number) => !flagged("dead", { outlet: outletOf(number) }))
      .map((number) => `dead ${outletOf(number)}`),
    ...strangers
      .filter(({ attempts }) => attempts > 5) // one that spoke once may not have been heard at all
      .filter(({ mac }) => !flagged("foreign", { mac }))
      .map(({ mac }) => `foreign ${mac}`),
    ...(faulty && options.fault && canQuery && !flagged(options.fault, { outlet: faulty })
      ? [`${options.fault} ${faulty}`]
      : []),
  ];
  const seconds = (world.clock.monotonic() - startedAt) / 1000;
  return { status, wrong, missing, unflagged, seconds, writes, kills, world };
}

function macNumbered(boards: readonly Board[], number: number): MacAddress {
  const found = boards[number - 1];
  if (!found) throw new RangeError(`no board ${number}`);
  return found.mac;
}
