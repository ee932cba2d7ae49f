/**
 * The agent: runs in netinst (installs this machine) and in the installed OS (reboots it, answers
 * and asks by discovery).
 *
 * Only `node:` modules, the protocol, and `tar` are used, so that it bundles to one file.
 */

import { runAgent } from "./agent.ts";
import { openConsole } from "./console.ts";
import { discoverCommand } from "./discover-command.ts";
import { reasonOf } from "./errors.ts";
import { startPolo } from "./polo.ts";
import { readSettings, type Settings } from "./settings.ts";
import { install } from "./steps/install.ts";
import { powerOf } from "./steps/power.ts";
import { sleep } from "./wait.ts";

const args = process.argv.slice(2);
const own = process.getuid?.() === 0 && !args.includes("--simulate") && args.includes("netinst");
const console = openConsole(own);
const stopping = new AbortController();
process.on("SIGTERM", () => stopping.abort());
process.on("SIGINT", () => stopping.abort());

/** The resident agent may start before its interface has come up. */
async function waitForSettings(): Promise<Settings> {
  for (let attempt = 0; ; attempt++) {
    try {
      return readSettings(args);
    } catch (error) {
      if (attempt >= 60 || !args.includes("resident")) throw error;
      await sleep(1000, stopping.signal);
      stopping.signal.throwIfAborted();
    }
  }
}

try {
  if (args[0] === "discover") {
    const out = (line: string) => void process.stdout.write(`${line}\n`);
    const err = (line: string) => void process.stderr.write(`${line}\n`);
    process.exit(await discoverCommand(args.slice(1), { out, err }, stopping.signal));
  }
  const settings = await waitForSettings();
  if (settings.role === "resident") {
    const polo = startPolo(settings, console);
    process.on("SIGHUP", () => polo.reload());
  }
  await runAgent(
    {
      ...{ settings, console, power: powerOf(settings), install, listenToSwitches: true },
      restart: () => process.exit(0),
    },
    stopping.signal,
  );
  process.exit(0);
} catch (error) {
  console.warn(`the agent stops: ${reasonOf(error)}`);
  process.exit(1);
}
