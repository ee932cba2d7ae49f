/** `marcoboot doctor`: by the running server, or by this process on the server's machine. */

import { existsSync } from "node:fs";
import { milliseconds } from "#protocol/brand.ts";
import type { Finding } from "#protocol/timeline.ts";
import type { Examination } from "../../doctor/doctor.ts";
import {
  type Command,
  CommandError,
  type ExitCode,
  exitCodes,
  flagOf,
  type Run,
  textOf,
  UsageError,
} from "../command.ts";
import { findingText } from "./finding.ts";

const defaultConfig = "/etc/marcoboot/marcoboot.yaml";

export const doctorCommands: readonly Command[] = [
  {
    noun: "doctor",
    verb: "",
    about: "what keeps nodes from booting: interfaces, ports, other servers, switch, clock, disk",
    positionals: [],
    options: {
      config: {
        type: "string",
        value: "FILE",
        about: `look from here, with these settings; else the running server looks, or ${defaultConfig}`,
      },
      listen: { type: "string", value: "SECONDS", about: "listen so long on the wire; default 5" },
      problems: { type: "boolean", about: "leave out what is as it should be" },
    },
    examples: [
      "marcoboot doctor",
      "marcoboot doctor --config lab.yaml --listen 130",
      "marcoboot doctor --problems --json",
    ],
    async run(run) {
      const listenSeconds = secondsOf(textOf(run.values, "listen") ?? "5");
      const examination =
        (await askServer(run, listenSeconds)) ?? (await examineHere(run, listenSeconds));
      return report(examination, run);
    },
  },
];

function secondsOf(text: string): number {
  const seconds = Number(text);
  if (text.trim() === "" || !(seconds >= 0 && seconds <= 300)) {
    throw new UsageError(`--listen ${text} is not 0-300 seconds`);
  }
  return seconds;
}

/** The running server knows what it has heard; `undefined`: none answers, or not us. */
async function askServer(run: Run, listenSeconds: number): Promise<Examination | undefined> {
  if (textOf(run.values, "config") !== undefined) return undefined;
  try {
    const path = `/api/v1/doctor?listenSeconds=${listenSeconds}`;
    return (await run.client.get(path)) as Examination;
  } catch (error) {
    if (!(error instanceof CommandError) || run.signal.aborted) throw error;
    run.output.say(`the running server cannot be asked (${error.message}): looking from here`);
    return undefined;
  }
}

async function examineHere(run: Run, listenSeconds: number): Promise<Examination> {
  const [
    { readConfig },
    { examine, runningServer },
    { createMachine },
    { systemClock },
    { silentLog },
  ] = await Promise.all([
    import("../../config.ts"),
    import("../../doctor/doctor.ts"),
    import("../../doctor/machine.ts"),
    import("../../clock.ts"),
    import("../../log.ts"),
  ]);
  const path = textOf(run.values, "config") ?? defaultConfig;
  if (!existsSync(path)) {
    const hint = "name the server's settings: marcoboot doctor --config FILE";
    throw new CommandError(`no configuration ${path}`, exitCodes.failed, hint);
  }
  const config = readConfig(path);
  const machine = createMachine();
  const pid = runningServer(machine, config.dhcpPort);
  run.output.progress(`listening for ${listenSeconds} s`);
  return examine({
    config,
    machine,
    clock: systemClock,
    log: silentLog,
    listen: milliseconds(listenSeconds * 1000),
    server: pid === undefined ? { kind: "none" } : { kind: "other", pid },
    signal: run.signal,
  });
}

function report({ checks, isHealthy }: Examination, { output, values }: Run): ExitCode {
  const isWanted = ({ severity }: Finding) => !flagOf(values, "problems") || severity !== "ok";
  const shown = checks.map((check) => ({ ...check, findings: check.findings.filter(isWanted) }));
  const lines = shown.flatMap(({ findings }) => findings.map(findingText));
  const end = isHealthy ? "nothing keeps nodes from booting" : "something is wrong";
  output.value({ isHealthy, checks: shown }, [...lines, end].join("\n"));
  return isHealthy ? exitCodes.done : exitCodes.failed;
}
