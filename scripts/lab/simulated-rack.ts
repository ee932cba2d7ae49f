/**
 * A rack of simulated boards with a power strip, and the faults a real one has.
 * What is wrong with which board is drawn from a seed; the server finds it out.
 */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { boardModels, type ModelName } from "./board-models.ts";
import type { Cleanup } from "./cleanup.ts";
import { startFirmwareHost } from "./firmware-host.ts";
import type { LabNetwork } from "./namespaces.ts";
import { startPowerStrip } from "./power-strip.ts";
import type { Random } from "./random.ts";
import { type BoardMoment, prepareBoards, SimulatedBoard } from "./simulated-board.ts";
import { type OutletFault, outletFaults, SimulatedOutlet } from "./simulated-outlet.ts";

export const boardFaults = ["late", "dead", "foreign"] as const;
export type BoardFault = (typeof boardFaults)[number];

/** How many there are of each. */
export type Faults = Readonly<Partial<Record<BoardFault | OutletFault, number>>>;

export interface RackOptions {
  readonly stacks: number;
  readonly perStack: number;
  /** Every slot has an outlet; else every stack has one. */
  readonly perSlotOutlets: boolean;
  /** The rack file says which port of the switch each slot has. */
  readonly hasPorts?: boolean;
  /** Slot after slot, in turn. */
  readonly models: readonly ModelName[];
  readonly faults: Faults;
  /** False: an outlet that is asked says what it was ordered, not what its contact does. */
  readonly senses: boolean;
  /** Of each board; default 64 MiB. */
  readonly diskOctets?: number;
  /** A late board needs longer than this for its first word. */
  readonly slotTimeoutSeconds: number;
  readonly random: Random;
  readonly network: LabNetwork;
  /** Disks, logs and the power socket go there; keep its path short. */
  readonly directory: string;
  readonly cleanup: Cleanup;
  readonly onMoment?: (moment: BoardMoment) => void;
}

/** A board and the truth about it, which the server has to find out. */
export interface RackBoard {
  readonly board: SimulatedBoard;
  /** Undefined: it hangs on the switch, but on no outlet of this rack. */
  readonly place: { readonly stack: string; readonly slot: string } | undefined;
  readonly fault: BoardFault | undefined;
  /** Of the outlet it hangs on. */
  readonly outletFault: OutletFault | undefined;
}

export interface SimulatedRack {
  readonly name: string;
  /** The rack file, in the form the server takes (JSON is YAML). */
  readonly file: string;
  readonly boards: readonly RackBoard[];
  /** Everything off, and the strip gone. */
  close(): Promise<void>;
}

const rackName = "sim";
/** Boards that are powered together do not speak together. */
const startSpreadMs = 1500;
/** A late board's first word, in times of the slot's time. */
const latest = { from: 1.2, to: 1.6 };
const stackLetters = "abcdefghijklmnopqrstuvwxyz";
export const mostStacks = stackLetters.length;
export const mostPerStack = 16;

/** Boards of which nobody is on but those on outlets that do not switch off, and foreign ones. */
export async function startSimulatedRack(options: RackOptions): Promise<SimulatedRack> {
  const { directory, random, cleanup, network } = options;
  mkdirSync(directory, { recursive: true });
  prepareBoards(directory);
  const firmware = startFirmwareHost(cleanup);
  const places = [...stackLetters.slice(0, options.stacks)].flatMap((stack) =>
    Array.from({ length: options.perStack }, (_, index) => ({ stack, slot: String(index + 1) })),
  );
  const outletOf = ({ stack, slot }: { readonly stack: string; readonly slot: string }) =>
    options.perSlotOutlets ? `${stack}${slot}` : stack;
  const outletFault = drawOutletFaults([...new Set(places.map(outletOf))], options);
  const sound = places.filter((place) => !outletFault.has(outletOf(place)));
  const boardFault = drawBoardFaults(sound, options);

  const make = (name: string, index: number, fault: BoardFault | undefined) => {
    const model = options.models[index % options.models.length] ?? "pi4";
    const lateness = latest.from + random.next() * (latest.to - latest.from);
    return new SimulatedBoard(
      {
        ...{ name, model, index },
        ...(options.diskOctets !== undefined && { diskOctets: options.diskOctets }),
        mac: macOf(model, index),
        startDelayMs: () => {
          if (fault === "dead") return Number.POSITIVE_INFINITY;
          if (fault === "late") return lateness * options.slotTimeoutSeconds * 1000;
          return random.next() * startSpreadMs;
        },
      },
      {
        network,
        firmware,
        directory,
        cleanup,
        ...(options.onMoment && { onMoment: options.onMoment }),
      },
    );
  };
  const placed = places.map(
    (place, index): RackBoard => ({
      board: make(`${place.stack}${place.slot}`, index, boardFault.get(place)),
      place,
      fault: boardFault.get(place),
      outletFault: outletFault.get(outletOf(place)),
    }),
  );
  const foreign = Array.from(
    { length: options.faults.foreign ?? 0 },
    (_, index): RackBoard => ({
      board: make(`foreign${index + 1}`, places.length + index, "foreign"),
      place: undefined,
      fault: "foreign",
      outletFault: undefined,
    }),
  );
  const outlets = new Map(
    [...Map.groupBy(placed, ({ place }) => (place ? outletOf(place) : ""))].map(
      ([name, members]) => {
        const boards = members.map(({ board }) => board);
        return [name, new SimulatedOutlet(boards, outletFault.get(name), options.senses)] as const;
      },
    ),
  );
  const socket = join(directory, "power.sock");
  const strip = await startPowerStrip(socket, outlets);
  await Promise.all([...outlets.values()].map((outlet) => outlet.plugIn()));
  for (const { board } of foreign) board.powerOn();
  const boards = [...placed, ...foreign];
  return {
    name: rackName,
    file: rackFile(options, socket),
    boards,
    async close() {
      strip.close();
      await Promise.all([...outlets.values()].map((outlet) => outlet.unplug()));
      await Promise.all(foreign.map(({ board }) => board.powerOff()));
      firmware.close();
    },
  };
}

/** The third octet tells laboratories' boards from the firmware's own defaults. */
function macOf(model: ModelName, index: number): string {
  const low = [index >> 8, index & 0xff].map((octet) => octet.toString(16).padStart(2, "0"));
  return `${boardModels[model].prefix}:5e:${low.join(":")}`;
}

function drawOutletFaults(
  names: readonly string[],
  { faults, random }: RackOptions,
): ReadonlyMap<string, OutletFault> {
  const left = [...names];
  return new Map(
    outletFaults.flatMap((fault) =>
      Array.from({ length: faults[fault] ?? 0 }, () => [random.draw(left), fault] as const),
    ),
  );
}

type Place = NonNullable<RackBoard["place"]>;

/** Each in a stack of its own, as long as there are enough: two faults at once hide each other. */
function drawBoardFaults(
  places: readonly Place[],
  { faults, random }: RackOptions,
): ReadonlyMap<Place, BoardFault> {
  const drawn = new Map<Place, BoardFault>();
  let left = [...places];
  for (const fault of ["late", "dead"] as const) {
    for (let count = 0; count < (faults[fault] ?? 0); count++) {
      const place = random.draw(left);
      drawn.set(place, fault);
      const elsewhere = left.filter(({ stack }) => stack !== place.stack);
      if (elsewhere.length > 0) left = elsewhere;
    }
  }
  return drawn;
}

function rackFile(options: RackOptions, socket: string): string {
  const outlet = (name: string) => ({ driver: "qemu", settings: { socket, outlet: name } });
  return JSON.stringify({
    name: rackName,
    stacks: [...stackLetters.slice(0, options.stacks)].map((stack, x) => ({
      name: stack,
      x,
      ...(!options.perSlotOutlets && { outlet: outlet(stack) }),
      slots: Array.from({ length: options.perStack }, (_, index) => {
        const name = String(index + 1);
        return {
          name,
          ...(options.perSlotOutlets && { outlet: outlet(`${stack}${name}`) }),
          // the board's end of the cable in the switch's namespace
          ...(options.hasPorts && { port: `${stack}${name}v` }),
        };
      }),
    })),
  });
}
