/** `npm run -s lab -- <what>`: what is measured with simulated nodes, in namespaces of its own. */

import { type Cleanup, cleanUpOnSignals, createCleanup } from "./lab/cleanup.ts";
import { runCutStages } from "./lab/cut-stages.ts";
import { runLearn } from "./lab/learn.ts";
import { runLoad } from "./lab/load.ts";
import { runPiRack } from "./lab/pi-rack.ts";
import { runPowercut } from "./lab/powercut.ts";
import { models } from "./lab/rack-trial.ts";
import { runStorm } from "./lab/storm.ts";
import { refuse } from "./usage.ts";

/** Each reads the rest of the command line, prints its result, and gives the exit code. */
const experiments: Readonly<Record<string, (cleanup: Cleanup) => Promise<number>>> = {
  ...Object.fromEntries(models.map((model) => [model, runPiRack])),
  learn: runLearn,
  load: runLoad,
  storm: runStorm,
  powercut: runPowercut,
  "cut-stages": runCutStages,
};

const usage = `
npm run -s lab -- <what> [-- options]; each has its own --help

  ${models.join("|")}   a rack of simulated boards boots from our server and from dnsmasq
  learn         a rack of simulated boards, some with faults, is learned: who is where
  load          thousands of agents are online: memory, processor time, time to an order
  powercut      a real install and update, and what a power cut at any moment of them leaves on the disk
  cut-stages    QEMU machines lose their power at every stage of an install, which must end all the same
  storm         installs while server, Redis and agents are killed at random
`;

async function main(): Promise<number> {
  const [what = ""] = process.argv.slice(2);
  const experiment = Object.hasOwn(experiments, what) ? experiments[what] : undefined;
  if (!experiment) {
    if (what !== "--help" && what !== "-h") refuse(`no experiment ${JSON.stringify(what)}`);
    process.stdout.write(`${usage.trim()}\n`);
    return 0;
  }
  if (process.getuid?.() !== 0) {
    process.stderr.write("error: network namespaces need root\nhint: sudo npm run -s lab\n");
    return 1;
  }
  const cleanup = createCleanup();
  cleanUpOnSignals(cleanup);
  try {
    return await experiment(cleanup);
  } catch (error) {
    process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  } finally {
    cleanup.run();
  }
}

process.exitCode = await main();
