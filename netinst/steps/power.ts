/** Reboot and shutdown. Netinst has nothing to stop; an installed OS is asked politely. */

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import type { PowerAssignment } from "#protocol/agent.ts";
import type { Settings } from "../settings.ts";
import { runTool } from "../tools.ts";
import { sleep } from "../wait.ts";

export type PowerVerb = PowerAssignment["action"];

/** Ends this boot. Injected by tests; resolves if the machine takes its time to go down. */
export type Power = (verb: PowerVerb, warnSeconds: number, signal: AbortSignal) => Promise<void>;

/** Exit codes of a simulated node, so that whoever plays its hardware knows what to do next. */
export const simulatedExit = { reboot: 10, shutdown: 11 } as const;

export function powerOf(settings: Pick<Settings, "role" | "simulate">): Power {
  if (settings.simulate) return async (verb) => process.exit(simulatedExit[verb]);
  return settings.role === "netinst" ? fromNetinst : fromInstalled;
}

const fromNetinst: Power = async (verb) => {
  // nobody else runs here: flush and go, without an init that would have to answer
  await runTool("sync", []);
  await runTool(verb === "reboot" ? "reboot" : "poweroff", ["-f"]);
};

const fromInstalled: Power = async (verb, warnSeconds, signal) => {
  if (warnSeconds > 0) {
    const what = verb === "reboot" ? "restarts" : "is switched off";
    spawnSync("wall", [
      `This machine ${what} in ${warnSeconds} s, as ordered by its administrator.`,
    ]);
    await sleep(warnSeconds * 1000, signal);
    signal.throwIfAborted();
  }
  const reboots = verb === "reboot";
  if (existsSync("/run/systemd/system")) {
    await runTool("systemctl", ["--no-block", reboots ? "reboot" : "poweroff"]);
  } else {
    await runTool("shutdown", [...(reboots ? ["-r"] : ["-h", "-P"]), "now"]); // System V's
  }
};
