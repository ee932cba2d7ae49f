/** `marcoboot power …` */

import { type PowerAnswer, slotText } from "#protocol/node.ts";
import {
  type Command,
  CommandError,
  confirm,
  type ExitCode,
  exitCodes,
  flagOf,
  type OptionSpec,
  type Run,
  required,
  textOf,
  UsageError,
  yesOption,
} from "../command.ts";

function show({ output }: Run, items: readonly PowerAnswer[], verb: string): ExitCode {
  output.table(
    ["slot", "node", "result"],
    items.map(({ slot, node, ok, state, jobId, reason }) => [
      slotText(slot),
      node,
      ok
        ? (state ?? (jobId === undefined ? verb : `${verb} after shutdown: ${jobId}`))
        : `failed: ${reason ?? ""}`,
    ]),
    items,
  );
  const job = items.find(({ jobId }) => jobId !== undefined)?.jobId;
  if (job !== undefined) {
    output.say(
      `what runs there is shut down first: marcoboot job watch ${job}; --force cuts at once`,
    );
  }
  if (items.every((one) => one.ok)) return exitCodes.done;
  return items.some((one) => one.ok) ? exitCodes.someFailed : exitCodes.failed;
}

const harshOptions: Readonly<Record<string, OptionSpec>> = {
  force: { type: "boolean", about: "cut the power at once, whatever runs there" },
  warn: { type: "string", value: "SECONDS", about: "warning for whoever is logged in; default 0" },
  yes: yesOption,
};

function switching(verb: "on" | "off" | "cycle", about: string): Command {
  const isHarsh = verb !== "on";
  return {
    noun: "power",
    verb,
    about,
    positionals: ["SELECTOR"],
    options: isHarsh ? harshOptions : {},
    examples: [
      `marcoboot power ${verb} stack:lab/a${isHarsh ? " --yes" : ""}`,
      ...(isHarsh ? [`marcoboot power ${verb} lab-a-1 --force --yes`] : []),
    ],
    async run(run) {
      const selector = required(run.positionals[0], "SELECTOR");
      const force = flagOf(run.values, "force");
      const warn = textOf(run.values, "warn") ?? "0";
      if (!/^\d{1,4}$/.test(warn)) throw new UsageError(`--warn ${warn} is not a whole number`);
      const how = force ? "at once, whatever runs there" : "after what runs there was shut down";
      if (isHarsh) await confirm(run, `Power of ${selector}: ${verb}, ${how}.`, verb);
      const harsh = { force, warnSeconds: Number(warn) };
      const body = { selector, state: verb, ...(isHarsh && harsh) };
      const { items } = (await run.client.send("POST", "/api/v1/power", body)) as {
        items: readonly PowerAnswer[];
      };
      return show(run, items, verb);
    },
  };
}

interface Setting {
  readonly description?: string;
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly writeOnly?: boolean;
}

interface Driver {
  readonly kind: string;
  readonly about: string;
  readonly canQuery: boolean;
  readonly minimumOffSeconds: number;
  readonly settings: {
    readonly properties: Readonly<Record<string, Setting>>;
    readonly required?: readonly string[];
  };
}

/** What may be written there: `text, secret`, `apc-rpdu | custom`, `integer 1-65535 = 161`. */
function wanted(setting: Setting): string {
  const { type, enum: words, default: usual, minimum, maximum, writeOnly } = setting;
  const kind = words?.join(" | ") ?? (type === "string" ? "text" : (type ?? "one of a few"));
  const range = minimum === undefined || maximum === undefined ? "" : ` ${minimum}-${maximum}`;
  const hidden = writeOnly ? ", secret" : "";
  return `${kind}${range}${hidden}${usual === undefined ? "" : ` = ${usual}`}`;
}

/** The outlet as a rack file would have it: what is needed, and nothing else. */
function exampleOf({ kind, settings: { properties, required: needed = [] } }: Driver): string {
  const members = needed.flatMap((name) => {
    const { examples = [], default: usual, writeOnly } = properties[name] ?? {};
    if (usual !== undefined) return [];
    return [`${name}: ${writeOnly ? "…" : JSON.stringify(examples[0] ?? "…")}`];
  });
  const settings = members.length === 0 ? "" : `, settings: { ${members.join(", ")} }`;
  return `outlet: { driver: ${kind}${settings} }`;
}

const drivers: Command = {
  noun: "power",
  verb: "drivers",
  about: "kinds of outlets, and the settings of one",
  positionals: ["[KIND]"],
  options: {},
  examples: ["marcoboot power drivers", "marcoboot power drivers snmp-pdu"],
  async run({ client, output, positionals: [kind] }) {
    const { items } = (await client.get("/api/v1/power-drivers")) as { items: readonly Driver[] };
    if (kind === undefined) {
      const rows = items.map((one) => [one.kind, one.about]);
      output.table(["driver", "for"], rows, items);
      return exitCodes.done;
    }
    const found = items.find((one) => one.kind === kind);
    if (!found) {
      const known = items.map((one) => one.kind).join(", ");
      throw new CommandError(`no power driver ${kind}`, exitCodes.notFound, `there are: ${known}`);
    }
    const { properties, required: needed = [] } = found.settings;
    output.table(
      ["setting", "needed", "value", "is"],
      Object.entries(properties).map(([name, setting]) => [
        name,
        needed.includes(name) && setting.default === undefined ? "yes" : "",
        wanted(setting),
        setting.description,
      ]),
      found,
    );
    const { canQuery, minimumOffSeconds } = found;
    output.say(`\nin a rack file: ${exampleOf(found)}`);
    output.say(
      `least time off in a power cycle: ${minimumOffSeconds} s; ${canQuery ? "tells" : "cannot tell"} its state`,
    );
    return exitCodes.done;
  },
};

export const powerCommands: readonly Command[] = [
  drivers,
  switching("on", "switch outlets on"),
  switching("off", "shut down what runs there, then switch outlets off"),
  switching("cycle", "shut down what runs there, then switch outlets off and on again"),
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
        items: readonly PowerAnswer[];
      };
      return show(run, items, "");
    },
  },
];
