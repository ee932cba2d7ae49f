/** Words for a node's load, the same on the page and the command line. */

import type { NodeLoad } from "./load.ts";

/** `1.2 MB/s`. */
export function rateText(octets: number): string {
  if (octets < 1000) return `${octets} B/s`;
  if (octets < 1_000_000) return `${Math.round(octets / 1000)} kB/s`;
  return `${(octets / 1_000_000).toFixed(1)} MB/s`;
}

/** Name and value of what was measured. */
export function loadTexts(load: NodeLoad): readonly (readonly [name: string, text: string])[] {
  const { cpuPercent, loadAverage, memoryUsedMiB, memoryMiB, temperature, received, sent } = load;
  return [
    ["Processor", `${cpuPercent.toFixed(0)} %, load ${loadAverage.toFixed(2)}`],
    ["Memory", `${memoryUsedMiB} of ${memoryMiB} MiB`],
    ...(temperature === undefined
      ? []
      : [["Temperature", `${temperature.toFixed(0)} °C`] as const]),
    ["Network", `in ${rateText(received)}, out ${rateText(sent)}`],
  ];
}
