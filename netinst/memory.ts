/**
 * Keeps the agent small while gigabytes pass through it.
 *
 * Every chunk is a new buffer outside of the JavaScript heap, which V8 hardly sees: left alone it
 * lets a hundred MiB of dead ones pile up, too much for a machine with 256 MB. So the collector is
 * called after every few MiB; with a heap of some 10 MiB that takes milliseconds.
 */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const collectEvery = 16 << 20;

type Collect = () => void;

/** @returns a function to call with the octets of each chunk that is done with */
export function openCollector(): (octets: number) => void {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as Collect;
  let passed = 0;
  return (octets) => {
    passed += octets;
    if (passed < collectEvery) return;
    passed = 0;
    collect();
  };
}
