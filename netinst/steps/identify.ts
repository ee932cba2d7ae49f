/**
 * Shows a person which board this is, without harming what runs on it: a light blinks, the
 * speaker beeps, the name is on the screen. What a light showed before is shown again afterwards.
 *
 * A light is a directory of /sys/class/leds; while its `trigger` is "none", its `brightness` is
 * ours (Documentation/leds/leds-class.rst of the kernel).
 */

import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readText } from "../settings.ts";
import { sleep } from "../wait.ts";

/** What there is to show it with. */
export interface Signs {
  readonly leds?: string;
  /** A virtual terminal: BEL sounds the speaker. */
  readonly screen?: string;
}

export const signsOfMachine: Signs = { leds: "/sys/class/leds", screen: "/dev/tty1" };
/** A simulated node shares its machine with others. */
export const noSigns: Signs = {};

/** Best first: made for this; the activity light of a Raspberry Pi by its names; what a keyboard has. */
const lights = [
  /locat|identif|\buid\b/i,
  /^(act|led0)$/i,
  /:(act|activity|status|user)$/i,
  /^(pwr|led1)$/i,
  /::(scroll|caps|num)lock$/,
];

const halfBlinkMs = 250;

/** @param tell - a line for people: what they are to look for */
export async function showWhich(
  name: string,
  seconds: number,
  tell: (line: string) => void,
  signal: AbortSignal,
  { leds, screen }: Signs,
): Promise<void> {
  const over = AbortSignal.any([signal, AbortSignal.timeout(seconds * 1000)]);
  const light = leds === undefined ? undefined : takeLight(leds);
  tell(
    light
      ? `the light ${light.name} blinks for ${seconds} s`
      : `no light that could blink: the screen says ${name} for ${seconds} s`,
  );
  const text = `\x07\r\n*** this is ${name} ***\r\n`;
  try {
    for (let turn = 0; !over.aborted; turn++) {
      light?.set(turn % 2 === 0);
      if (screen !== undefined && turn % 4 === 0) writeQuietly(screen, text);
      await sleep(halfBlinkMs, over);
    }
  } finally {
    light?.giveBack();
  }
}

interface Light {
  readonly name: string;
  set(on: boolean): void;
  giveBack(): void;
}

/** The best light that lets itself be taken. */
function takeLight(directory: string): Light | undefined {
  const names = lightsIn(directory);
  for (const pattern of lights) {
    for (const name of names.filter((one) => pattern.test(one))) {
      const light = openLight(directory, name);
      if (light) return light;
    }
  }
  return undefined;
}

function openLight(directory: string, name: string): Light | undefined {
  const file = (member: string) => join(directory, name, member);
  const trigger = /\[(.+?)\]/.exec(readText(file("trigger")) ?? "")?.[1];
  const before = readText(file("brightness"))?.trim();
  const brightest = readText(file("max_brightness"))?.trim() ?? "1";
  if (before === undefined || !writeQuietly(file("trigger"), "none")) return undefined;
  return {
    name,
    set: (on) => void writeQuietly(file("brightness"), on ? brightest : "0"),
    giveBack() {
      writeQuietly(file("brightness"), before);
      if (trigger !== undefined && trigger !== "none") writeQuietly(file("trigger"), trigger);
    },
  };
}

function lightsIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return []; // a machine without any
  }
}

/** False where there is no such file, or it takes nothing: a sign less is no reason to fail. */
function writeQuietly(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: "r+" });
    return true;
  } catch {
    return false;
  }
}
