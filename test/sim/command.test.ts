import test from "ava";
import { duration } from "../../server/cli/commands/sim.ts";
import { runCommandLine } from "../../server/cli/run.ts";

const times = [
  ["500ms", 500],
  ["0.5s", 500],
  ["2m", 120_000],
  ["3", 3000],
  ["0s", 0],
] as const;
for (const [text, milliseconds] of times) {
  test(`${text} is ${milliseconds} ms`, (t) => t.is(duration("stagger", text), milliseconds));
}

test("a time that is none is refused with examples", (t) => {
  t.throws(() => duration("stagger", "soon"), { message: /500ms, 0.5s or 2m/ });
});

const mistakes = [
  ["an unknown firmware", ["sim", "pi9", "--interface", "eth0"], /one of pi3\|pi4/],
  ["no interface", ["sim", "pi3"], /--interface is missing/],
  ["too many boards", ["sim", "pi3", "--interface", "eth0", "--count", "1001"], /1 to 1000/],
  ["no hardware address", ["sim", "pi3", "--first-mac", "x"], /--first-mac/],
] as const;
for (const [title, words, message] of mistakes) {
  test(`${title}: exit code 2 and what would be right`, async (t) => {
    let said = "";
    const write = (text: string) => {
      said += text;
    };
    const { signal } = new AbortController();
    const streams = { stdout: { write }, stderr: { write }, stdin: process.stdin };
    t.is(await runCommandLine(words, { ...streams, environment: {}, signal }), 2);
    t.regex(said, message);
  });
}
