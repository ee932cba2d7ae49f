/**
 * The datagram thread after lives that end early, a word of MORTAL_FATES for each: with
 * `ready,mute` it dies as soon as it is ready, then without a word; its third life is thread.ts.
 */

import { parentPort, workerData } from "node:worker_threads";
import { loadCLibrary } from "../../server/net/c-library.ts";

const counts = new Float64Array(workerData.counts);
const life = counts.length - 1; // the number of transfers: nobody writes it before thread.ts runs
const fate = process.env["MORTAL_FATES"]?.split(",")[counts[life] ?? 0];
counts[life] = (counts[life] ?? 0) + 1;
switch (fate) {
  case "ready":
    parentPort?.postMessage({ kind: "ready", wake: (await loadCLibrary()).eventfd(0, 0) });
    throw new Error("the thread dies");
  case "mute":
    throw new Error("the thread dies without a word");
  case "slow":
    parentPort?.on("message", () => undefined); // lives on, and is never ready
    break;
  default:
    await import("../../server/tftp/thread.ts");
}
