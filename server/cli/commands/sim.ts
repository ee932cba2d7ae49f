/** `marcoboot sim`: boards that are not there yet ask the network for a boot. */

import { networkInterfaces } from "node:os";
import { milliseconds, parseMacAddress } from "#protocol/brand.ts";
import { systemClock } from "../../clock.ts";
import { SystemCallError } from "../../net/device-socket.ts";
import type { Board } from "../../sim/board.ts";
import { firmwareNamed, firmwares } from "../../sim/firmware/registry.ts";
import { type FrameSocket, openPacketSocket } from "../../sim/packet-socket.ts";
import type { Step } from "../../sim/program.ts";
import {
  type BoardResult,
  maximumBoards,
  type SimulationResult,
  type SimulationSettings,
  simulate,
} from "../../sim/simulation.ts";
import {
  type Command,
  CommandError,
  type ExitCode,
  exitCodes,
  flagOf,
  required,
  textOf,
  UsageError,
  type Values,
} from "../command.ts";
import type { Output } from "../output.ts";

const defaultTimeout = "300s";
const names = firmwares.map(({ name }) => name).join("|");

export const simCommands: readonly Command[] = [
  {
    noun: "sim",
    verb: "",
    about:
      "simulate boards that boot by network, with their faults: proves a network before the hardware comes",
    positionals: [names],
    options: {
      interface: { type: "string", value: "NAME", about: "where the boards hang; required" },
      count: { type: "string", value: "N", about: `boards, 1-${maximumBoards}; default 1` },
      stagger: {
        type: "string",
        value: "TIME",
        about: "between the power-ons of two boards, e.g. 0.5s; default: all together",
      },
      "first-mac": {
        type: "string",
        value: "MAC",
        about: "hardware address of the first board; the others count up",
      },
      machine: {
        type: "string",
        value: "N",
        about: "0-255: other machines with the same hardware addresses have other UUIDs",
      },
      timeout: { type: "string", value: "TIME", about: `per board; default ${defaultTimeout}` },
      "no-arp": { type: "boolean", about: "the boards never answer an ARP request" },
      "always-arp": { type: "boolean", about: "they answer where their firmware would not" },
      "open-once": { type: "boolean", about: "they open no file twice, as a Pi 3 does" },
      timeline: { type: "boolean", about: "every step of every board" },
    },
    examples: [
      "marcoboot sim pi3 --count 48 --interface eth1",
      "marcoboot sim pi4 --count 4 --stagger 0.5s --interface eth1 --timeline",
      "marcoboot sim ipxe --first-mac 52:54:00:12:34:56 --interface eth1 --json",
    ],
    async run({ positionals, values, output, signal }) {
      const settings = settingsOf(required(positionals[0], names), values);
      const name = required(textOf(values, "interface"), "--interface");
      const result = await simulateOn(name, settings, output, signal);
      tell(result, output, flagOf(values, "timeline"));
      return exitCodeOf(result);
    },
  },
];

function machineOf(text: string): number {
  const machine = Number(text);
  if (Number.isInteger(machine) && machine >= 0 && machine <= 255) return machine;
  throw new UsageError(`--machine ${text}: 0 to 255`);
}

function settingsOf(firmwareName: string, values: Values): SimulationSettings {
  const firmware = firmwareNamed(firmwareName);
  if (!firmware) throw new UsageError(`no firmware ${firmwareName}: one of ${names}`);
  const count = Number(textOf(values, "count") ?? "1");
  if (!Number.isInteger(count) || count < 1 || count > maximumBoards) {
    throw new UsageError(`--count ${textOf(values, "count")}: 1 to ${maximumBoards}`);
  }
  const mac = textOf(values, "first-mac");
  return {
    firmware,
    count,
    staggerMs: duration("stagger", textOf(values, "stagger") ?? "0s"),
    timeoutMs: duration("timeout", textOf(values, "timeout") ?? defaultTimeout),
    ...(flagOf(values, "always-arp") && { answersArp: "always" }),
    ...(flagOf(values, "no-arp") && { answersArp: "never" }),
    opensOnce: flagOf(values, "open-once"),
    ...(mac !== undefined && { firstMac: hardwareAddress(mac) }),
    machine: machineOf(textOf(values, "machine") ?? "0"),
  };
}

function hardwareAddress(text: string) {
  try {
    return parseMacAddress(text);
  } catch (cause) {
    throw new UsageError(`--first-mac: ${cause instanceof Error ? cause.message : text}`, {
      cause,
    });
  }
}

/** `500ms`, `0.5s`, `2m`; a bare number means seconds. */
export function duration(name: string, text: string): number {
  const { number, unit } = /^(?<number>\d+(?:\.\d+)?)(?<unit>ms|s|m)?$/.exec(text)?.groups ?? {};
  if (number === undefined)
    throw new UsageError(`--${name} ${text}: a time like 500ms, 0.5s or 2m`);
  const factor = unit === "ms" ? 1 : unit === "m" ? 60_000 : 1000;
  return milliseconds(Number(number) * factor);
}

async function simulateOn(
  name: string,
  settings: SimulationSettings,
  output: Output,
  signal: AbortSignal,
): Promise<SimulationResult> {
  let socket: FrameSocket | undefined;
  try {
    socket = await openPacketSocket(name);
    const context = {
      socket,
      clock: systemClock,
      random: Math.random,
      onStep: (board: Board, step: Step) => output.progress(`${board.station.mac} ${step.text}`),
    };
    return await simulate(settings, context, signal);
  } catch (cause) {
    throw cause instanceof SystemCallError ? explain(cause, name) : cause;
  } finally {
    socket?.close();
  }
}

const networkDown = 100; // ENETDOWN

function explain(cause: SystemCallError, name: string): CommandError {
  const [message, hint] =
    cause.call === "if_nametoindex"
      ? [`no interface ${name}`, `there are ${Object.keys(networkInterfaces()).join(", ")}`]
      : cause.errno === networkDown
        ? [`interface ${name} is down`, `ip link set ${name} up`]
        : [`interface ${name}: ${cause.message}`, "raw frames need root, or CAP_NET_RAW"];
  return new CommandError(message, exitCodes.failed, hint, { cause });
}

function exitCodeOf({ booted, count }: SimulationResult): ExitCode {
  if (booted === count) return exitCodes.done;
  return booted === 0 ? exitCodes.failed : exitCodes.someFailed;
}

function tell(result: SimulationResult, output: Output, timeline: boolean): void {
  if (timeline && !output.isJson) for (const board of result.boards) tellSteps(board, output);
  output.table(
    ["mac", "address", "verdict", "seconds", "discovers", "files", "MB", "sent again", "why"],
    result.boards.map((board) => [
      board.mac,
      board.address,
      board.ending.outcome,
      (board.tookMs / 1000).toFixed(1),
      board.discovers,
      board.files.length,
      (board.bytes / 1e6).toFixed(1),
      board.repeated,
      board.ending.outcome === "booted" ? "" : board.ending.reason,
    ]),
    result,
  );
  const seconds = (result.tookMs / 1000).toFixed(1);
  output.say(`${result.booted} of ${result.count} ${result.firmware} booted, in ${seconds} s`);
}

function tellSteps(board: BoardResult, output: Output): void {
  for (const step of board.steps) {
    const at = (step.atMs / 1000).toFixed(3).padStart(9);
    output.line(step, `${board.mac} ${at} s  ${step.kind.padEnd(9)} ${step.text}`);
  }
}
