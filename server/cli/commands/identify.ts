/** `marcoboot node identify`: which board on the shelf is this one? */

import { type Command, exitCodes, required, textOf, UsageError } from "../command.ts";
import type { Job } from "../shapes.ts";

function secondsOf(text: string): number {
  const seconds = Number(text);
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= 600) return seconds;
  throw new UsageError(`--seconds ${text} is not a whole number of 1-600`);
}

export const identifyCommands: readonly Command[] = [
  {
    noun: "node",
    verb: "identify",
    about: "blink a node's light, beep, and write its name on its screen",
    positionals: ["NODE"],
    options: {
      seconds: { type: "string", value: "SECONDS", about: "how long, 1-600; default 30" },
    },
    examples: ["marcoboot node identify lab-a-1", "marcoboot node identify stack:lab/a"],
    async run({ client, output, positionals, values }) {
      const selector = required(positionals[0], "NODE");
      const seconds = secondsOf(textOf(values, "seconds") ?? "30");
      const body = { kind: "identify", selector, parameters: { seconds } };
      const job = (await client.send("POST", "/api/v1/jobs", body)) as Job;
      const stop = `marcoboot job cancel ${job.id}`;
      output.value(job, `${selector} shows itself for ${seconds} s; sooner with: ${stop}`);
      return exitCodes.done;
    },
  },
];
