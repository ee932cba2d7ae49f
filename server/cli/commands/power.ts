/** `marcoboot power …` */

import {
  type Command,
  confirm,
  type ExitCode,
  exitCodes,
  type Run,
  required,
  yesOption,
} from "../command.ts";

interface Result {
  readonly slot: { readonly rack: string; readonly stack: string; readonly slot: string };
  readonly node?: string;
  readonly ok: boolean;
  readonly state?: string;
  readonly reason?: string;
}

function show({ output }: Run, items: readonly Result[], verb: string): ExitCode {
  output.table(
    ["slot", "node", "result"],
    items.map(({ slot, node, ok, state, reason }) => [
      `${slot.rack}/${slot.stack}/${slot.slot}`,
      node,
      ok ? (state ?? verb) : `failed: ${reason ?? ""}`,
    ]),
    items,
  );
  if (items.every((one) => one.ok)) return exitCodes.done;
  return items.some((one) => one.ok) ? exitCodes.someFailed : exitCodes.failed;
}

function switching(verb: "on" | "off" | "cycle", about: string): Command {
  const isHarsh = verb !== "on";
  return {
    noun: "power",
    verb,
    about,
    positionals: ["SELECTOR"],
    options: isHarsh ? { yes: yesOption } : {},
    examples: [`marcoboot power ${verb} stack:lab/a${isHarsh ? " --yes" : ""}`],
    async run(run) {
      const selector = required(run.positionals[0], "SELECTOR");
      if (isHarsh) await confirm(run, `Power of ${selector}: ${verb}, without warning.`, verb);
      const body = { selector, state: verb };
      const { items } = (await run.client.send("POST", "/api/v1/power", body)) as {
        items: readonly Result[];
      };
      return show(run, items, verb);
    },
  };
}

export const powerCommands: readonly Command[] = [
  switching("on", "switch outlets on"),
  switching("off", "switch outlets off, without warning"),
  switching("cycle", "switch outlets off and on again"),
  {
    noun: "power",
    verb: "show",
    about: "ask the outlets",
    positionals: ["SELECTOR"],
    options: {},
    examples: ["marcoboot power show rack:lab"],
    async run(run) {
      const selector = encodeURIComponent(required(run.positionals[0], "SELECTOR"));
      const { items } = (await run.client.get(`/api/v1/power?selector=${selector}`)) as {
        items: readonly Result[];
      };
      return show(run, items, "");
    },
  },
];
