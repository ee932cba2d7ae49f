import test from "ava";
import { loadTexts, rateText } from "#protocol/load-text.ts";

for (const [octets, text] of [
  [0, "0 B/s"],
  [999, "999 B/s"],
  [1500, "2 kB/s"],
  [12_345_678, "12.3 MB/s"],
] as const) {
  test(`${octets} octets are ${text}`, (t) => t.is(rateText(octets), text));
}

test("a load is told with its units, and a sensor that is not there is not", (t) => {
  const load = {
    ...{ cpuPercent: 12.4, loadAverage: 0.5, memoryUsedMiB: 512, memoryMiB: 2048 },
    ...{ received: 1500, sent: 20, uptimeSeconds: 1 },
  };
  t.deepEqual(loadTexts({ ...load, temperature: 51.2 }), [
    ["Processor", "12 %, load 0.50"],
    ["Memory", "512 of 2048 MiB"],
    ["Temperature", "51 °C"],
    ["Network", "in 2 kB/s, out 20 B/s"],
  ]);
  t.is(loadTexts(load).length, 3);
});
