import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import test, { type ExecutionContext } from "ava";
import type { Connection } from "../../netinst/connection.ts";
import { createLoadMeter, reportLoad } from "../../netinst/load.ts";
import { temporaryDirectory } from "../support/temporary.ts";

/** A machine's /proc and /sys. */
function machine(t: ExecutionContext) {
  const root = temporaryDirectory(t);
  const put = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  const counters = (busy: number, idle: number, received: number, sent: number) => {
    put("proc/stat", `cpu  ${busy} 0 0 ${idle} 0 0 0 0 0 0\ncpu0 1 2 3 4\n`);
    put("sys/class/net/eth0/statistics/rx_bytes", `${received}\n`);
    put("sys/class/net/eth0/statistics/tx_bytes", `${sent}\n`);
  };
  put("proc/meminfo", "MemTotal:  2097152 kB\nMemFree: 1 kB\nMemAvailable:  1572864 kB\n");
  put("proc/loadavg", "0.42 0.30 0.20 1/100 4242\n");
  put("proc/uptime", "3600.49 100.00\n");
  counters(0, 0, 0, 0);
  return { root, put, counters };
}

test("processor and network are told of the time since the sample before", (t) => {
  const { root, counters } = machine(t);
  const meter = createLoadMeter("eth0", root);
  counters(25, 75, 1_000_000, 500_000);
  const load = meter();
  t.is(load.cpuPercent, 25);
  t.true(load.received > load.sent && load.sent > 0);
  counters(100, 100, 1_000_000, 500_000);
  t.like(meter(), { cpuPercent: 75, received: 0, sent: 0 });
  t.is(meter().cpuPercent, 0, "no time has passed");
});

test("memory, load average, uptime and the hottest sensor are told as they are", (t) => {
  const { root, put } = machine(t);
  const meter = createLoadMeter("eth0", root);
  const { temperature, ...load } = meter();
  t.like(load, { memoryMiB: 2048, memoryUsedMiB: 512, loadAverage: 0.42, uptimeSeconds: 3600 });
  t.is(temperature, undefined, "there is no sensor");
  put("sys/class/thermal/thermal_zone0/temp", "48312\n");
  put("sys/class/thermal/thermal_zone1/temp", "51000\n");
  put("sys/class/thermal/thermal_zone2/temp", "-274000\n");
  put("sys/class/thermal/cooling_device0/cur_state", "0\n");
  t.is(meter().temperature, 51);
});

test("it is told until nobody looks any more", async (t) => {
  const { root } = machine(t);
  const told: unknown[] = [];
  const connection = {
    post: async (path: string, body: unknown) => {
      told.push([path, body]);
      return { isWatched: told.length < 2 };
    },
  } as unknown as Connection;
  await reportLoad(connection, createLoadMeter("eth0", root), AbortSignal.timeout(100_000));
  t.is(told.length, 2);
  t.like(told[0], { 0: "/agent/v1/load" });
});
