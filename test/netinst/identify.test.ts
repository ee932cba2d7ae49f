import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { noSigns, showWhich } from "../../netinst/steps/identify.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const never = new AbortController().signal;

/** A file of sysfs takes a word at its beginning; what a plain file had behind it stays. */
function machine(t: ExecutionContext, lights: Readonly<Record<string, string>>) {
  const directory = temporaryDirectory(t);
  const screen = join(directory, "tty1");
  const leds = join(directory, "leds");
  writeFileSync(screen, "");
  for (const [name, trigger] of Object.entries(lights)) {
    mkdirSync(join(leds, name), { recursive: true });
    writeFileSync(join(leds, name, "trigger"), trigger);
    writeFileSync(join(leds, name, "brightness"), "1");
    writeFileSync(join(leds, name, "max_brightness"), "7\n");
  }
  const lines: string[] = [];
  return {
    signs: { leds, screen },
    say: (line: string) => void lines.push(line),
    lines,
    read: (light: string, member: string) => readFileSync(join(leds, light, member), "utf8"),
    screenText: () => readFileSync(screen, "utf8"),
  };
}

/** What `look` gives while `work` goes on. */
async function seenDuring(work: Promise<void>, look: () => string): Promise<readonly string[]> {
  const seen = new Set<string>();
  const watching = setInterval(() => seen.add(look()), 20);
  try {
    await work;
  } finally {
    clearInterval(watching);
  }
  return [...seen].sort();
}

test("the activity light of a Raspberry Pi blinks, and gets back what it showed before", async (t) => {
  const { signs, say, lines, read, screenText } = machine(t, {
    "mmc0::": "none [mmc0]",
    ACT: "none timer [mmc0]",
    PWR: "none [default-on]",
  });
  const work = showWhich("lab-a-1", 1, say, never, signs);
  t.deepEqual(await seenDuring(work, () => read("ACT", "brightness")), ["0", "7"]);
  t.deepEqual(lines, ["the light ACT blinks for 1 s"]);
  t.is(read("ACT", "trigger").slice(0, 4), "mmc0");
  t.is(read("ACT", "brightness"), "1");
  t.is(read("PWR", "trigger"), "none [default-on]");
  t.is(screenText(), "\x07\r\n*** this is lab-a-1 ***\r\n");
});

test("a light made for it goes before all others", async (t) => {
  const { signs, say, lines } = machine(t, { ACT: "[none]", "green:locator": "[none]" });
  await showWhich("lab-a-1", 1, say, never, signs);
  t.deepEqual(lines, ["the light green:locator blinks for 1 s"]);
});

test("a machine without a light says so; its screen names it", async (t) => {
  const { signs, say, lines, screenText } = machine(t, { "phy0-led": "[none]" });
  await showWhich("lab-a-1", 1, say, never, signs);
  t.deepEqual(lines, ["no light that could blink: the screen says lab-a-1 for 1 s"]);
  t.regex(screenText(), /this is lab-a-1/);
});

test("a cancelled one stops at once, and the light is given back", async (t) => {
  const { signs, say, read } = machine(t, { led0: "none [mmc0]" });
  const stop = new AbortController();
  const showing = showWhich("lab-a-1", 600, say, stop.signal, signs);
  stop.abort();
  await showing;
  t.is(read("led0", "trigger").slice(0, 4), "mmc0");
  t.is(read("led0", "brightness"), "1");
});

test("a simulated node touches nothing of the machine it runs on", async (t) => {
  const lines: string[] = [];
  await showWhich("lab-a-1", 1, (line) => void lines.push(line), never, noSigns);
  t.deepEqual(lines, ["no light that could blink: the screen says lab-a-1 for 1 s"]);
});
