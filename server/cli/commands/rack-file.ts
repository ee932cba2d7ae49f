/** `marcoboot rack …`: racks as files, and changes of one. */

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import type { RackReport } from "#protocol/rack.ts";
import type { Finding } from "#protocol/timeline.ts";
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
  UsageError,
  yesOption,
} from "../command.ts";
import { clean } from "../output.ts";
import { findingText } from "./finding.ts";

const forceOption: OptionSpec = { type: "boolean", about: "keep it in spite of problems" };
const pathOf = (name: string) => `/api/v1/racks/${encodeURIComponent(name)}`;

async function reportOf({ client }: Run, text: string, askOutlets: boolean): Promise<RackReport> {
  return (await client.send(
    "POST",
    `/api/v1/rack-checks?outlets=${askOutlets}`,
    text,
  )) as RackReport;
}

function differenceLines({ differences }: RackReport): readonly string[] {
  return differences.map(({ where, before, after }) => {
    if (before === undefined) return clean(`+ ${where}: ${after}`);
    if (after === undefined) return clean(`- ${where}: ${before}`);
    return clean(`~ ${where}: ${before} -> ${after}`);
  });
}

function problemsOf({ findings }: RackReport): readonly Finding[] {
  return findings.filter(({ severity }) => severity === "problem");
}

function tell(run: Run, report: RackReport): void {
  const lines = [...differenceLines(report), ...report.findings.map(findingText)];
  run.output.value(
    report,
    lines.length === 0 ? `rack ${report.name}: nothing changes` : lines.join("\n"),
  );
}

/** Shows what is new, asks when nodes lose their slot, and keeps it. @param tag - what was read before */
async function keep(run: Run, text: string, tag?: string): Promise<ExitCode> {
  const report = await reportOf(run, text, false);
  const { name } = report;
  const problems = problemsOf(report);
  if (flagOf(run.values, "dry-run")) {
    tell(run, report);
    return problems.length === 0 ? exitCodes.done : exitCodes.failed;
  }
  for (const line of differenceLines(report)) run.output.say(line);
  for (const finding of report.findings) run.output.say(findingText(finding));
  if (problems.length > 0 && !flagOf(run.values, "force")) {
    throw new CommandError(
      `rack ${name} does not fit this site: nothing was changed`,
      exitCodes.failed,
      "correct the file, or --force to keep it as it is",
    );
  }
  const homeless = report.findings.filter(({ code }) => code === "node-without-slot");
  if (homeless.length > 0) {
    await confirm(run, `${homeless.length} nodes of rack ${name} lose their slot.`, name);
  }
  const seen = tag ?? (report.revision === undefined ? undefined : `"${report.revision}"`);
  const rack = await run.client.send("PUT", pathOf(name), text, seen);
  run.output.value(rack, `rack ${name} is kept`);
  return exitCodes.done;
}

function readRackFile(path: string): string {
  if (existsSync(path)) return readFileSync(path, "utf8");
  throw new CommandError(`no file ${path}`, exitCodes.usage, "rack export NAME > FILE makes one");
}

/** A file, or the name of a rack that is kept. */
async function fileOrRack(run: Run): Promise<string> {
  const word = required(run.positionals[0], "FILE");
  if (existsSync(word) || /[./]/.test(word)) return readRackFile(word);
  return (await run.client.get(`${pathOf(word)}/file`)) as string;
}

/** Without a server: whether the file is one. */
async function checkOffline({ output, positionals }: Run): Promise<ExitCode> {
  const path = required(positionals[0], "FILE");
  const { parseRackFile } = await import("../../rack/rack-file.ts");
  const { name, stacks } = parseRackFile(readRackFile(path), path);
  const slots = stacks.reduce((sum, stack) => sum + stack.slots.length, 0);
  const text = `rack ${name}: ${stacks.length} stacks, ${slots} slots`;
  output.value({ name, stacks: stacks.length, slots }, text);
  return exitCodes.done;
}

/** @throws UsageError where nobody could type */
function editorOf({ environment, output }: Run): string {
  const chosen = environment["VISUAL"] || environment["EDITOR"];
  if (chosen) return chosen;
  if (output.isInteractive) return "editor";
  throw new UsageError("an editor needs a terminal: rack export and rack apply, or rack set");
}

/** The text as the person left it. */
function edited(text: string, path: string, editor: string): string {
  writeFileSync(path, text, { mode: 0o600 });
  const [program = "", ...args] = editor.split(" ");
  const { status, error } = spawnSync(program, [...args, path], { stdio: "inherit" });
  if (error) {
    const hint = "set EDITOR to the name of an editor";
    throw new CommandError(`${program}: ${error.message}`, exitCodes.failed, hint);
  }
  if (status !== 0) {
    throw new CommandError(
      `${program} ended with ${status}: nothing was changed`,
      exitCodes.failed,
    );
  }
  return readFileSync(path, "utf8");
}

async function edit(run: Run): Promise<ExitCode> {
  const name = required(run.positionals[0], "NAME");
  const editor = editorOf(run);
  const { value, tag } = await run.client.getTagged(`${pathOf(name)}/file`);
  const directory = mkdtempSync(join(tmpdir(), "marcoboot-rack-"));
  const path = join(directory, `${name}.yaml`);
  try {
    const text = edited(String(value), path, editor);
    if (text === value) run.output.say(`rack ${name}: nothing changes`);
    const outcome = text === value ? exitCodes.done : await keep(run, text, tag);
    rmSync(directory, { recursive: true });
    return outcome;
  } catch (error) {
    run.output.say(`what you wrote is in ${path}`);
    throw error;
  }
}

/** `lab`, `lab/a` or `lab/a/1`, and a member with dots, as a merge patch. */
function patchOf(place: string, member: string, value: unknown): { name: string; patch: unknown } {
  const [name = "", stack, slot, ...more] = place.split("/");
  if (more.length > 0) throw new UsageError(`${place} is not RACK, RACK/STACK or RACK/STACK/SLOT`);
  const own = member.split(".").reduceRight<unknown>((inner, one) => ({ [one]: inner }), value);
  const ofSlot = slot === undefined ? own : { slots: { [slot]: own } };
  return { name, patch: stack === undefined ? ofSlot : { stacks: { [stack]: ofSlot } } };
}

async function change(run: Run, value: unknown): Promise<ExitCode> {
  const place = required(run.positionals[0], "PLACE");
  const member = required(run.positionals[1], "MEMBER");
  const { name, patch } = patchOf(place, member, value);
  const rack = await run.client.send("PATCH", pathOf(name), patch);
  run.output.value(rack, `${place}: ${member} is changed`);
  return exitCodes.done;
}

/** YAML, so that `2`, `true` and `{ driver: manual }` are what they look like; `-`: from standard input, as it is. */
async function givenValue({ positionals, output }: Run): Promise<unknown> {
  const text = required(positionals[2], "VALUE");
  if (text !== "-") return parse(text);
  const typed = output.isInteractive
    ? await output.askSecret(`${positionals[1]}: `)
    : await output.readInput();
  return typed.replace(/\r?\n$/, "");
}

export const rackFileCommands: readonly Command[] = [
  {
    noun: "rack",
    verb: "apply",
    about: "create or replace a rack from its file",
    positionals: ["FILE"],
    options: {
      "dry-run": { type: "boolean", about: "only say what would change, and what does not fit" },
      force: forceOption,
      yes: yesOption,
    },
    examples: ["marcoboot rack apply lab.yaml", "marcoboot rack apply lab.yaml --dry-run"],
    run: (run) => keep(run, readRackFile(required(run.positionals[0], "FILE"))),
  },
  {
    noun: "rack",
    verb: "check",
    about: "whether a rack, or the file of one, fits this site; changes nothing",
    positionals: ["FILE"],
    options: {
      outlets: { type: "boolean", about: "ask every outlet for its state too" },
      offline: { type: "boolean", about: "only the file itself, without a server" },
    },
    examples: [
      "marcoboot rack check lab",
      "marcoboot rack check lab.yaml --outlets",
      "marcoboot rack check lab.yaml --offline",
    ],
    async run(run) {
      if (flagOf(run.values, "offline")) return checkOffline(run);
      const text = await fileOrRack(run);
      if (flagOf(run.values, "outlets")) run.output.say("asking every outlet, at most 30 s each …");
      const report = await reportOf(run, text, flagOf(run.values, "outlets"));
      const { name, findings } = report;
      const fine = `${findingText({ code: "fits", severity: "ok", text: `rack ${name} fits` })}`;
      const lines = findings.map(findingText);
      run.output.value(
        report,
        problemsOf(report).length > 0 ? lines.join("\n") : [...lines, fine].join("\n"),
      );
      return problemsOf(report).length === 0 ? exitCodes.done : exitCodes.failed;
    },
  },
  {
    noun: "rack",
    verb: "diff",
    about: "what a file would change",
    positionals: ["FILE"],
    options: {},
    examples: ["marcoboot rack diff lab.yaml"],
    async run(run) {
      const report = await reportOf(run, readRackFile(required(run.positionals[0], "FILE")), false);
      const lines = differenceLines(report);
      run.output.value(
        report.differences,
        lines.join("\n") || `rack ${report.name}: nothing changes`,
      );
      return exitCodes.done;
    },
  },
  {
    noun: "rack",
    verb: "export",
    about: "the file that makes a rack; its secrets stay with the server",
    positionals: ["NAME"],
    options: {},
    examples: ["marcoboot rack export lab > lab.yaml"],
    async run({ client, output, positionals }) {
      const name = required(positionals[0], "NAME");
      const file = String(await client.get(`${pathOf(name)}/file`));
      output.value({ name, file }, file.trimEnd());
      return exitCodes.done;
    },
  },
  {
    noun: "rack",
    verb: "edit",
    about: "change a rack's file in your editor (VISUAL, EDITOR)",
    positionals: ["NAME"],
    options: {
      "dry-run": { type: "boolean", about: "only say what would change, and what does not fit" },
      force: forceOption,
      yes: yesOption,
    },
    examples: ["marcoboot rack edit lab"],
    run: edit,
  },
  {
    noun: "rack",
    verb: "set",
    about: "change one member of a rack, a stack or a slot",
    positionals: ["PLACE", "MEMBER", "VALUE"],
    options: {},
    examples: [
      "marcoboot rack set lab/a/1 address 10.77.0.20",
      "marcoboot rack set lab power.onAtOnce 2",
      "marcoboot rack set lab/a outlet '{ driver: manual }'",
      "marcoboot rack set lab/a outlet.settings.password - < password.txt",
    ],
    run: async (run) => change(run, await givenValue(run)),
  },
  {
    noun: "rack",
    verb: "unset",
    about: "take one member out of a rack, a stack or a slot",
    positionals: ["PLACE", "MEMBER"],
    options: {},
    examples: ["marcoboot rack unset lab/a/1 address"],
    run: (run) => change(run, null),
  },
];
