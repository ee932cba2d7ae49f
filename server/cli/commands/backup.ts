/** `marcoboot backup …`: on the server's machine, from its files; the server may run or not. */

import type { RestoredSettings } from "../../backup/restore.ts";
import { systemClock } from "../../clock.ts";
import { sizeText } from "../../doctor/words.ts";
import { silentLog } from "../../log.ts";
import {
  type Command,
  exitCodes,
  flagOf,
  type Run,
  required,
  stateDirectoryOf,
  textOf,
} from "../command.ts";

function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

function requestOf({ positionals, values, environment, output }: Run, doing: string) {
  return {
    stateDirectory: stateDirectoryOf(values, environment),
    path: required(positionals[0], "FILE"),
    clock: systemClock,
    onProgress: (percent: number) => output.progress(`${doing} ${percent} %`),
  };
}

function settingsText({ from, isThere, path }: RestoredSettings): string {
  if (path === undefined) {
    return "its settings are not put beside the journal, where there are others: `tar --zstd -xf` takes them out";
  }
  const next = isThere
    ? `others are there now: \`diff ${path} ${from}\``
    : `nothing is there now: \`cp ${path} ${from}\``;
  return `its settings, which were in ${from}, are in ${path}; ${next}`;
}

const dryRunOption = { type: "boolean", about: "check all of it, leave nothing" } as const;

export const backupCommands: readonly Command[] = [
  {
    noun: "backup",
    verb: "create",
    about:
      "journal, leases and settings of this machine's server, running or not; without its keys",
    positionals: ["FILE"],
    options: { images: { type: "boolean", about: "the images, too" } },
    examples: [
      "marcoboot backup create /mnt/nas/rack.backup",
      "marcoboot backup create rack.backup --images --state /srv/marcoboot",
    ],
    async run(run) {
      const { backUpState } = await import("../../backup/create.ts");
      const withImages = flagOf(run.values, "images");
      const request = requestOf(run, "writing");
      const { contents, images } = await backUpState({ ...request, withImages });
      const octets = contents.members.reduce((sum, member) => sum + member.octets, 0);
      const inside = withImages ? "in it" : "listed, not in it (--images)";
      run.output.value(
        contents,
        `${request.path}: ${sizeText(octets)} before packing, ${counted(images.length, "image")} ${inside}`,
      );
      run.output.say(
        contents.settings === undefined
          ? "the settings are not in it: no server was started here, or their file cannot be read"
          : `the settings are in it: ${contents.settings}`,
      );
      run.output.say(
        "the keys are not in it: `marcoboot backup keys FILE`, once, to another place",
      );
      return exitCodes.done;
    },
  },
  {
    noun: "backup",
    verb: "keys",
    about: "the server's keys, which never change: once, and to another place than the backups",
    positionals: ["FILE"],
    options: {},
    examples: ["marcoboot backup keys /media/safe/rack.keys"],
    async run(run) {
      const { backUpKeys } = await import("../../backup/create.ts");
      const request = requestOf(run, "writing");
      const contents = await backUpKeys(request);
      const count = counted(contents.members.length, "key file");
      run.output.value(contents, `${request.path}: ${count} of site ${contents.site}`);
      run.output.say("whoever has this file can be this server: keep it where the backups are not");
      return exitCodes.done;
    },
  },
  {
    noun: "backup",
    verb: "show",
    about: "reads all of a backup and tells what is in it",
    positionals: ["FILE"],
    options: {},
    examples: ["marcoboot backup show rack.backup"],
    async run(run) {
      const { readArchive } = await import("../../backup/archive.ts");
      const { path, onProgress } = requestOf(run, "reading");
      const contents = await readArchive(path, {
        onProgress: (octets, total) => onProgress(Math.floor((100 * octets) / total)),
      });
      const { kind, at, host, site } = contents;
      run.output.say(`the ${kind} of site ${site}, of ${at} on ${host}; all of it can be read`);
      run.output.table(
        ["member", "size", "sha-256"],
        contents.members.map((one) => [one.name, sizeText(one.octets), one.sha256.slice(0, 12)]),
        contents,
      );
      return exitCodes.done;
    },
  },
  {
    noun: "backup",
    verb: "restore",
    about: "a state directory from a backup; a journal that is there is never replaced",
    positionals: ["FILE"],
    options: {
      keys: { type: "string", value: "FILE", about: "backup of the keys; default: they are there" },
      "dry-run": dryRunOption,
    },
    examples: [
      "marcoboot backup restore rack.backup --keys rack.keys --dry-run",
      "marcoboot backup restore rack.backup --keys rack.keys --state /srv/marcoboot",
    ],
    async run(run) {
      const { restore } = await import("../../backup/restore.ts");
      const { output, values } = run;
      const keysPath = textOf(values, "keys");
      const isTrial = flagOf(values, "dry-run");
      const request = requestOf(run, "reading");
      const restored = await restore({
        ...request,
        log: silentLog,
        isTrial,
        ...(keysPath !== undefined && { keysPath }),
      });
      const { contents, nodes, users, tokens, jobs, learning, missingImages } = restored;
      const done = isTrial ? "could be restored to" : "is restored to";
      output.value(
        { ...restored, dryRun: isTrial },
        `the state of ${contents.at} (${contents.host}, site ${contents.site}) ${done} ${request.stateDirectory}: ${counted(nodes, "node")}, ${counted(users.length, "user")}`,
      );
      if (restored.settings) output.say(settingsText(restored.settings));
      for (const { name, digest } of missingImages) {
        output.say(
          `image ${name} (${digest.slice(0, 12)}) is not here: push it again, or copy its directory of the old images`,
        );
      }
      if (jobs > 0) {
        output.say(
          `${counted(jobs, "job")} had not ended and failed: \`marcoboot job list\`, \`job retry\``,
        );
      }
      if (learning !== undefined) {
        output.say(`rack ${learning} was being learned, which is cancelled: \`learn start\``);
      }
      output.say(
        `what was removed or revoked since is back (users: ${users.join(", ")}; ${counted(tokens, "token")}; certificates): remove it again`,
      );
      return exitCodes.done;
    },
  },
];
