/** `marcoboot netinst …`: the installer images on this machine; no server is asked. */

import { dirname, join } from "node:path";
import type { Architecture } from "#protocol/firmware.ts";
import { readNetinst } from "../../http/netinst.ts";
import { type Command, exitCodes, type OptionSpec, textOf, UsageError } from "../command.ts";

const defaultDirectory = "/var/cache/marcoboot/netinst";

const directory: OptionSpec = {
  type: "string",
  value: "DIR",
  about: `where they are; default: ${defaultDirectory}`,
};

function architecturesOf(text: string | undefined): readonly Architecture[] {
  if (text === undefined) return ["amd64", "arm64"];
  if (text === "amd64" || text === "arm64") return [text];
  throw new UsageError(`--architecture ${text} is neither amd64 nor arm64`);
}

export const netinstCommands: readonly Command[] = [
  {
    noun: "netinst",
    verb: "show",
    about: "sizes and digests of the installer images",
    positionals: [],
    options: { directory },
    examples: ["marcoboot netinst show --json"],
    run({ output, values }) {
      const built = readNetinst(textOf(values, "directory") ?? defaultDirectory);
      output.table(
        ["arch", "kernel", "stage1", "stage2", "digest"],
        built.map((one) => [
          one.arch,
          one.kernelBytes,
          one.stage1Bytes,
          one.stage2Bytes,
          one.stage2Digest,
        ]),
        built,
      );
      return exitCodes.done;
    },
  },
  {
    noun: "netinst",
    verb: "build",
    about: "build the installer images from Debian packages",
    positionals: [],
    options: {
      directory,
      architecture: { type: "string", value: "ARCH", about: "amd64 or arm64; default: both" },
    },
    examples: ["marcoboot netinst build --architecture amd64"],
    async run({ output, values }) {
      const target = textOf(values, "directory") ?? defaultDirectory;
      const { buildNetinst } = await import("../../../netinst/initramfs/build.ts");
      const built = [];
      for (const architecture of architecturesOf(textOf(values, "architecture"))) {
        built.push(
          await buildNetinst({
            architecture,
            output: join(target, architecture),
            cache: dirname(target),
            log: (line) => output.say(line),
          }),
        );
      }
      output.table(
        ["arch", "kernel", "stage1", "stage2", "digest"],
        built.map((one) => [
          one.arch,
          one.kernelBytes,
          one.stage1Bytes,
          one.stage2Bytes,
          one.stage2Digest,
        ]),
        built,
      );
      return exitCodes.done;
    },
  },
];
