/** What of a job is asked for on the command line: `job create` and `schedule add` share it. */

import { readFileSync } from "node:fs";
import { flagOf, type OptionSpec, type Run, required, textOf, UsageError } from "../command.ts";

type Options = Readonly<Record<string, OptionSpec>>;

export const selectOption: OptionSpec = {
  type: "string",
  short: "s",
  value: "SELECTOR",
  about:
    "all, rack:R, stack:R/S, slot:R/S/1-4, state:X, tag:T, image:I, names; commas between, & for both, ! for not",
};

export const kindOptions: Options = {
  image: {
    type: "string",
    value: "IMAGE",
    about: "install, update, copy: name or digest; a file to copy was pushed with --format file",
  },
  keep: {
    type: "string",
    value: "PATHS",
    about: "update: carried over besides what the image names; commas between",
  },
  path: { type: "string", value: "PATH", about: "copy: where the file goes, absolute" },
  mode: { type: "string", value: "BITS", about: "copy: permissions; default 0644" },
  name: { type: "string", value: "NAME", about: "capture: what the image is called" },
  kind: {
    type: "string",
    value: "KIND",
    about: "capture: tar (default): the files of its system; raw: its disk as it is",
  },
  "leave-out": {
    type: "string",
    value: "PATHS",
    about: "capture: absolute paths not to take; * for a part of a name; commas between",
  },
  command: { type: "string", value: "NAME", about: "run: a command of the configuration" },
  values: { type: "string", value: "VALUES", about: "run: its name=value; commas between" },
  disk: {
    type: "string",
    value: "DISK",
    about: "install, capture: kernel name or serial; default: the only fixed disk",
  },
  "authorized-keys": { type: "string", value: "FILE", about: "install: public keys for root" },
  seconds: { type: "string", value: "SECONDS", about: "burn-in: how long; default 600" },
  "write-disks": {
    type: "boolean",
    about: "burn-in: write disks too that are blank or were installed from here",
  },
  force: { type: "boolean", about: "power-off, power-cycle: also where a system runs" },
  warn: { type: "string", value: "SECONDS", about: "reboot, shutdown: warning before; default 0" },
};

export const rolloutOptions: Options = {
  canary: { type: "string", value: "NODES", about: "so many go first; one that fails stops all" },
  batch: { type: "string", value: "NODES", about: "so many at a time, or a part of all: 25%" },
  budget: {
    type: "string",
    value: "NODES",
    about: "so many may fail, or a part of all; one more pauses the rest; default 0",
  },
  settle: {
    type: "string",
    value: "SECONDS",
    about: "nodes of a batch are given so long before they are asked how they are; default 30",
  },
  health: {
    type: "string",
    value: "CHECKS",
    about:
      "after each batch: online, port:22, http:8080/ready, commands of the configuration; commas between; a node that does not pass has failed",
  },
  "per-rack": { type: "string", value: "NODES", about: "so many at once in a rack" },
  "per-stack": { type: "string", value: "NODES", about: "so many at once in a stack" },
  "per-outlet": { type: "string", value: "NODES", about: "so many at once on an outlet" },
};

export const zoneOption: OptionSpec = {
  type: "string",
  value: "ZONE",
  about: "of these times: Europe/Madrid; default: this machine's",
};

export const whenOptions: Options = {
  at: { type: "string", value: "TIME", about: 'not before: "2026-11-22 02:00"' },
  deadline: { type: "string", value: "TIME", about: "cancel what has not begun by then" },
  zone: zoneOption,
  window: { type: "string", value: "NAME", about: "begin in this maintenance window only" },
  after: { type: "string", value: "JOBS", about: "begin when these jobs are done; commas between" },
};

export function zoneOf({ values }: Run): string {
  return textOf(values, "zone") ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** Undefined when none of the options was given. */
export function whenOf(run: Run): object | undefined {
  const { values } = run;
  const after = textOf(values, "after");
  const given = {
    ...textMembers(run, { at: "at", deadline: "deadline", window: "window" }),
    ...(after !== undefined && { after: after.split(",").map((one) => one.trim()) }),
  };
  return Object.keys(given).length === 0 ? undefined : { ...given, zone: zoneOf(run) };
}

/** Undefined when none of the options was given. */
export function rolloutOf({ values }: Run): object | undefined {
  const members = {
    canary: "canary",
    batch: "batch",
    failures: "budget",
    settleSeconds: "settle",
    perRack: "per-rack",
    perStack: "per-stack",
    perOutlet: "per-outlet",
  };
  const given = Object.entries(members).flatMap(([member, option]) => {
    const text = textOf(values, option);
    if (text === undefined) return [];
    const mayBeShare = member === "batch" || member === "failures";
    const isShare = mayBeShare && /^\d{1,3}%$/.test(text);
    return [[member, isShare ? text : wholeNumber(text, `--${option}`)] as const];
  });
  const health = textOf(values, "health")?.split(",");
  if (given.length === 0 && !health) return undefined;
  return {
    ...Object.fromEntries(given),
    ...(health && { health: health.map((one) => one.trim()) }),
  };
}

/** `package=htop,level=2`. @throws UsageError */
export function namedValues(text: string | undefined): Record<string, string> {
  const words = text === undefined || text === "" ? [] : text.split(",");
  return Object.fromEntries(words.map(namedValue));
}

/** @throws UsageError */
export function namedValue(word: string): readonly [name: string, value: string] {
  const at = word.indexOf("=");
  if (at < 1) throw new UsageError(`${word} is not written as name=value`);
  return [word.slice(0, at), word.slice(at + 1)];
}

export function parametersOf(kind: string, run: Run): Record<string, unknown> {
  const { values } = run;
  if (["identify", "inventory", "power-on"].includes(kind)) return {};
  if (kind === "power-off" || kind === "power-cycle") return { force: flagOf(values, "force") };
  if (kind === "burn-in") {
    const seconds = textOf(values, "seconds");
    return {
      ...(seconds !== undefined && { seconds: wholeNumber(seconds, "--seconds") }),
      writeDisks: flagOf(values, "write-disks"),
    };
  }
  if (kind === "run") {
    return {
      command: required(textOf(values, "command"), "--command"),
      values: namedValues(textOf(values, "values")),
    };
  }
  if (kind === "capture") {
    const leaveOut = textOf(values, "leave-out");
    const format = textOf(values, "kind");
    return {
      name: required(textOf(values, "name"), "--name"),
      ...(format !== undefined && { format: format === "tar" ? "rootfs-tar" : format }),
      ...textMembers(run, { disk: "disk" }),
      ...(leaveOut !== undefined && { leaveOut: leaveOut.split(",").map((one) => one.trim()) }),
    };
  }
  if (kind === "copy") {
    return {
      image: required(textOf(values, "image"), "--image"),
      path: required(textOf(values, "path"), "--path"),
      ...textMembers(run, { mode: "mode" }),
    };
  }
  if (kind === "update") {
    const keep = textOf(values, "keep");
    return {
      image: required(textOf(values, "image"), "--image"),
      ...(keep !== undefined && { keep: keep.split(",").map((path) => path.trim()) }),
    };
  }
  if (kind !== "install")
    return { warnSeconds: wholeNumber(textOf(values, "warn") ?? "0", "--warn") };
  const keys = textOf(values, "authorized-keys");
  return {
    image: required(textOf(values, "image"), "--image"),
    ...textMembers(run, { disk: "disk" }),
    ...(keys !== undefined && {
      authorizedKeys: readFileSync(keys, "utf8")
        .split("\n")
        .map((line) => line.trim())
        .filter((line) => line !== "" && !line.startsWith("#")),
    }),
  };
}

export function wholeNumber(text: string, name: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`${name} ${text} is not a whole number`);
  return Number(text);
}

/** Those options that were given, under the names of their members. */
export function textMembers(
  { values }: Run,
  members: Readonly<Record<string, string>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(members).flatMap(([member, option]) => {
      const text = textOf(values, option);
      return text === undefined ? [] : [[member, text] as const];
    }),
  );
}
