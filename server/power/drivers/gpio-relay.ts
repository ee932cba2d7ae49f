/**
 * A relay on a GPIO line, switched with the `gpiod` tools of Debian: 1.x (Debian 12)
 * and 2.x (Debian 13) take different arguments, so the version is asked first.
 *
 * A line keeps its level only as long as a process holds it: the kernel may give
 * it back to its default when that process ends. So `gpioset` stays behind as a
 * process of its own that outlives this server, and is found again by its
 * arguments in /proc: a restart of the server changes nothing, and asking what
 * a line does touches no line. `hold: false` is for chips that keep their level
 * (I2C expanders).
 *
 * Reading a line with version 1 would make it an input, which lets go of the
 * relay: there only the holding process tells the state.
 */

import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { Type } from "typebox";
import { milliseconds } from "#protocol/brand.ts";
import type { PowerState } from "#protocol/node.ts";
import { systemClock } from "../../clock.ts";
import { PowerRefusedError, PowerUnreachableError } from "../../errors.ts";
import { definePowerDriver, type PowerDriver, type SettingsOf } from "../driver.ts";
import { type Outcome, runProgram } from "../program.ts";

const members = {
  chip: Type.String({
    description: "GPIO chip, as `gpiodetect` names it",
    pattern: "^(?:/dev/)?[A-Za-z0-9][A-Za-z0-9_.-]{0,60}$",
    default: "gpiochip0",
  }),
  line: Type.Integer({
    description: "offset of the line on the chip",
    minimum: 0,
    maximum: 1023,
    examples: [18],
  }),
  activeLow: Type.Boolean({ description: "the relay is on while the line is low", default: false }),
  hold: Type.Boolean({
    description: "a process keeps holding the line; false for chips that keep their level",
    default: true,
  }),
};
export type GpioRelaySettings = SettingsOf<typeof members>;

type Version = 1 | 2;

/** Between looks at whether the process that held the line has gone. */
const lookPeriod = milliseconds(20);

/** @param path - where `gpioset` and `gpioget` are looked for; default: Debian's directories */
export function createGpioRelayDriver(path?: string): PowerDriver<GpioRelaySettings> {
  const run = (program: string, args: readonly string[], signal: AbortSignal) =>
    runProgram(program, args, { path, debianPackage: "gpiod", outlives: true }, signal);

  const versionOf = async (signal: AbortSignal): Promise<Version> => {
    const { output } = await run("gpioset", ["--version"], signal);
    const major = /\bv(?<major>\d+)\./.exec(output)?.groups?.["major"];
    if (major === "1" || major === "2") return major === "1" ? 1 : 2;
    throw new PowerRefusedError(`gpioset is neither version 1 nor 2: ${output.slice(0, 60)}`);
  };

  return definePowerDriver({
    kind: "gpio-relay",
    about: "relay board on GPIO lines of this machine",
    settings: members,
    canQuery: true,
    minimumOffTime: milliseconds(2000),

    async set(settings, state, signal) {
      const held = holdersOf(settings);
      if (held.length === 1 && held[0]?.state === state) return;
      const version = await versionOf(signal);
      for (const { pid } of held) await letGo(pid, settings, signal);
      refuseUnlessDone(
        await run("gpioset", setArguments(version, settings, state), signal),
        settings,
      );
    },

    async query(settings, signal) {
      const [holder] = holdersOf(settings);
      if (holder) return holder.state;
      if ((await versionOf(signal)) === 1) return "unknown";
      const outcome = await run("gpioget", getArguments(settings), signal);
      refuseUnlessDone(outcome, settings);
      return stateOf(outcome.output.trim(), settings);
    },
  });
}

export const gpioRelayDriver = createGpioRelayDriver();

function setArguments(
  version: Version,
  { chip, line, activeLow, hold }: GpioRelaySettings,
  state: "on" | "off",
): readonly string[] {
  const value = `${line}=${state === "on" ? 1 : 0}`;
  const polarity = activeLow ? ["--active-low"] : [];
  if (version === 1) {
    const mode = hold ? ["--mode=signal", "--background"] : ["--mode=exit"];
    return [...mode, ...polarity, chip, value];
  }
  const mode = hold ? ["--daemonize"] : ["--toggle=0"]; // toggling "after 0" ends it at once
  return [...mode, "--consumer=marcoboot", ...polarity, `--chip=${chip}`, value];
}

/** Version 2 only. As it is: not made an input. */
function getArguments({ chip, line, activeLow }: GpioRelaySettings): readonly string[] {
  const polarity = activeLow ? ["--active-low"] : [];
  return ["--as-is", "--numeric", ...polarity, `--chip=${chip}`, String(line)];
}

function stateOf(text: string, { chip, line }: GpioRelaySettings): PowerState {
  if (text === "1") return "on";
  if (text === "0") return "off";
  throw new PowerUnreachableError(`line ${line} of ${chip}: gpioget said ${text.slice(0, 40)}`);
}

function refuseUnlessDone(
  { exitCode, complaints: [complaint] }: Outcome,
  { chip, line }: GpioRelaySettings,
): void {
  if (exitCode !== 0) throw new PowerRefusedError(`line ${line} of ${chip}: ${complaint}`);
}

interface Holder {
  readonly pid: number;
  readonly state: "on" | "off" | "unknown";
}

/** Processes `gpioset` that hold the line, of this run of the server or an earlier one. */
function holdersOf(settings: GpioRelaySettings): readonly Holder[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({ pid: Number(name), state: heldBy(Number(name), settings) }))
    .filter((one): one is Holder => one.state !== undefined);
}

/** Undefined: not a `gpioset` that holds this line. `unknown`: it holds it with the other polarity. */
function heldBy(
  pid: number,
  { chip, line, activeLow }: GpioRelaySettings,
): Holder["state"] | undefined {
  const words = argumentsOf(pid);
  const program = words.slice(0, 2).findIndex((word) => basename(word) === "gpioset"); // 1: a script
  if (program < 0) return undefined;
  const rest = words.slice(program + 1);
  if (!rest.includes(chip) && !rest.includes(`--chip=${chip}`)) return undefined;
  const value = rest.find((word) => word.startsWith(`${line}=`));
  if (value === undefined) return undefined;
  if (rest.includes("--active-low") !== activeLow) return "unknown";
  return value === `${line}=1` ? "on" : "off";
}

/** Empty for a process that has gone, or is a zombie. */
function argumentsOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH" || code === "EACCES") return [];
    throw error;
  }
}

async function letGo(pid: number, settings: GpioRelaySettings, signal: AbortSignal): Promise<void> {
  try {
    process.kill(pid, "SIGTERM");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ESRCH") return;
    throw new PowerRefusedError(`line ${settings.line} is held by process ${pid} of another user`, {
      cause,
    });
  }
  while (heldBy(pid, settings) !== undefined) {
    await systemClock.sleep(lookPeriod, signal);
    if (signal.aborted) {
      throw new PowerUnreachableError(
        `line ${settings.line}: process ${pid} does not let go of it`,
      );
    }
  }
}
