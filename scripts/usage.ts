/** Command lines of the npm scripts: `--help` prints the text, a wrong option one line and a hint. */

import { type ParseArgsConfig, parseArgs } from "node:util";

/** Like `parseArgs`, but ends the process: 0 after `--help`, 2 on an option that does not exist. */
export function readArguments<Config extends ParseArgsConfig>(
  usage: string,
  config: Config,
): ReturnType<typeof parseArgs<Config>> {
  if (process.argv.slice(2).some((word) => word === "--help" || word === "-h")) {
    process.stdout.write(`${usage.trim()}\n`);
    process.exit(0);
  }
  try {
    return parseArgs(config);
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
}

/** Usage errors: exit code 2. */
export function refuse(message: string): never {
  process.stderr.write(`error: ${message}\nhint: --help lists what there is\n`);
  process.exit(2);
}
