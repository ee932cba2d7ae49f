/** The datagram thread, but its first life ends as soon as it is ready. */

import { parentPort, workerData } from "node:worker_threads";
import { loadCLibrary } from "../../server/net/c-library.ts";

const counts = new Float64Array(workerData.counts);
const life = counts.length - 1; // the number of transfers: nobody writes it before thread.ts runs
if (counts[life] === 0) {
  counts[life] = 1;
  parentPort?.postMessage({ kind: "ready", wake: (await loadCLibrary()).eventfd(0, 0) });
  throw new Error("the thread dies");
}
await import("../../server/tftp/thread.ts");
