import test from "ava";
import { PowerRefusedError } from "../../server/errors.ts";
import { commandBench } from "./benches.ts";

const { signal } = new AbortController();

test("what a shell would read is one argument, as it was written", async (t) => {
  const { driver, calls } = commandBench(t);
  const outlet = "a; touch owned $(id) 'x' {state}";
  await driver.set({ command: ["switch-strip", "{outlet}", "{state}"], outlet }, "on", signal);
  t.deepEqual(calls(), [`2 ${outlet} on`]);
});

test("placeholders are filled in only where they are a whole argument", async (t) => {
  const { driver, calls } = commandBench(t);
  const command = ["switch-strip", "x{outlet}", "{state}", "--port={outlet}"];
  await driver.set({ command, outlet: "a1" }, "on", signal);
  t.deepEqual(calls(), ["3 x{outlet} on --port={outlet}"]);
});

for (const name of ["/bin/sh", "../sh", "a/b", "", "-c", "."]) {
  test(`only a file name of the directory is a program: not ${JSON.stringify(name)}`, (t) => {
    const { driver } = commandBench(t);
    t.throws(() => driver.parse({ command: [name, "{state}"], outlet: "a1" }), {
      instanceOf: RangeError,
    });
  });
}

test("an outlet is never taken for an option, a program that is not there is refused", async (t) => {
  const { driver } = commandBench(t);
  t.throws(() => driver.parse({ command: ["switch-strip", "{outlet}"], outlet: "--help" }), {
    instanceOf: RangeError,
    message: /^outlet must match/,
  });
  await t.throwsAsync(driver.set({ command: ["absent"], outlet: "a1" }, "on", signal), {
    instanceOf: PowerRefusedError,
    message: /absent cannot be run/,
  });
});
