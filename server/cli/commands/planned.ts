/** What `window …` and `schedule …` have in common: things with a name that come again. */

import type { Instant } from "#protocol/brand.ts";
import {
  type Command,
  confirm,
  exitCodes,
  flagOf,
  type OptionSpec,
  type Run,
  required,
  textOf,
  yesOption,
} from "../command.ts";
import { wholeNumber } from "./job-request.ts";

/** As the API answers it. */
export interface Recurring {
  readonly zone: string;
  readonly next: readonly Instant[];
}

export interface PlannedNoun<View extends Recurring> {
  readonly noun: "window" | "schedule";
  readonly showNext: (run: Run, view: View) => void;
  readonly aboutNext: string;
  readonly aboutRemove: string;
  /** An example of a name. */
  readonly example: string;
  readonly options: Readonly<Record<string, OptionSpec>>;
  /** Members of the API by what was given; what was not is left out. */
  readonly membersOf: (run: Run) => object;
  readonly setExamples: readonly string[];
}

export const dryRunOption: OptionSpec = { type: "boolean", about: "only show the next times" };

export function pathOf(noun: PlannedNoun<never>["noun"], run: Run): string {
  return `/api/v1/${noun}s/${encodeURIComponent(required(run.positionals[0], "NAME"))}`;
}

/** `set`, `next` and `remove`. */
export function plannedCommands<View extends Recurring>({
  noun,
  showNext,
  aboutNext,
  aboutRemove,
  example,
  options,
  membersOf,
  setExamples,
}: PlannedNoun<View>): readonly Command[] {
  return [
    {
      noun,
      verb: "set",
      about: `change some of a ${noun}, leave the rest, and show its next times`,
      positionals: ["NAME"],
      options: { ...options, "dry-run": dryRunOption },
      examples: setExamples,
      async run(run) {
        const patch = { ...membersOf(run), dryRun: flagOf(run.values, "dry-run") };
        showNext(run, (await run.client.send("PATCH", pathOf(noun, run), patch)) as View);
        return exitCodes.done;
      },
    },
    {
      noun,
      verb: "next",
      about: aboutNext,
      positionals: ["NAME"],
      options: {},
      examples: [`marcoboot ${noun} next ${example}`],
      async run(run) {
        showNext(run, (await run.client.get(pathOf(noun, run))) as View);
        return exitCodes.done;
      },
    },
    {
      noun,
      verb: "remove",
      about: aboutRemove,
      positionals: ["NAME"],
      options: { yes: yesOption },
      examples: [`marcoboot ${noun} remove ${example} --yes`],
      async run(run) {
        const path = pathOf(noun, run);
        const [name = ""] = run.positionals;
        await confirm(run, `The ${noun} ${name} will be forgotten.`, name);
        await run.client.send("DELETE", path);
        run.output.value({ removed: name }, `${noun} ${name} is gone`);
        return exitCodes.done;
      },
    },
  ];
}

/** An option that is a whole number, as a member; nothing when it was not given. */
export function numberMember({ values }: Run, member: string, option: string): object {
  const text = textOf(values, option);
  return text === undefined ? {} : { [member]: wholeNumber(text, `--${option}`) };
}
