/**
 * Measures how busy this machine is while somebody looks at it on the server, and tells it once
 * a second over TLS. Nobody looks: nothing is measured and nothing is sent.
 */

import { readdirSync } from "node:fs";
import { type LoadAnswer, loadPeriodMs, type NodeLoad } from "#protocol/load.ts";
import type { Connection } from "./connection.ts";
import { readText } from "./settings.ts";
import { sleep } from "./wait.ts";

/** Since the call before; the first one since the meter was made. */
export type LoadMeter = () => NodeLoad;

/** @param root - where `proc` and `sys` are; tests pass a directory */
export function createLoadMeter(interfaceName: string, root = ""): LoadMeter {
  let before = countersOf(interfaceName, root);
  return () => {
    const now = countersOf(interfaceName, root);
    const seconds = Math.max(0.001, (now.at - before.at) / 1000);
    const ticks = now.allTicks - before.allTicks;
    const rate = (name: "received" | "sent") =>
      Math.max(0, Math.round((now[name] - before[name]) / seconds));
    const load: NodeLoad = {
      cpuPercent: ticks > 0 ? percent(1 - (now.idleTicks - before.idleTicks) / ticks) : 0,
      loadAverage: Number.parseFloat(readText(`${root}/proc/loadavg`) ?? "0"),
      ...memory(root),
      ...temperature(root),
      received: rate("received"),
      sent: rate("sent"),
      uptimeSeconds: Math.round(Number.parseFloat(readText(`${root}/proc/uptime`) ?? "0")),
    };
    before = now;
    return load;
  };
}

/** Until nobody looks any more, the server does not take it, or `signal` aborts. */
export async function reportLoad(
  connection: Connection,
  meter: LoadMeter,
  signal: AbortSignal,
): Promise<void> {
  for (let isWatched = true; isWatched; ) {
    await sleep(loadPeriodMs, signal);
    if (signal.aborted) return;
    const answer = await connection.post("/agent/v1/load", meter(), signal);
    isWatched = (answer as LoadAnswer).isWatched === true;
  }
}

/** What only ever rises. */
function countersOf(interfaceName: string, root: string) {
  // proc_stat(5): user nice system idle iowait irq softirq steal guest guest_nice; both guests are in user and nice
  const first = /^cpu +(.*)/.exec(readText(`${root}/proc/stat`) ?? "")?.[1] ?? "";
  const ticks = first.split(" ").slice(0, 8).map(Number);
  const octets = (name: string) =>
    Number(readText(`${root}/sys/class/net/${interfaceName}/statistics/${name}`) ?? 0);
  return {
    at: performance.now(),
    allTicks: ticks.reduce((sum, one) => sum + one, 0),
    idleTicks: (ticks[3] ?? 0) + (ticks[4] ?? 0),
    received: octets("rx_bytes"),
    sent: octets("tx_bytes"),
  };
}

function percent(share: number): number {
  return Math.round(Math.min(1, Math.max(0, share)) * 1000) / 10;
}

function memory(root: string): Pick<NodeLoad, "memoryUsedMiB" | "memoryMiB"> {
  const text = readText(`${root}/proc/meminfo`) ?? "";
  const mebibytes = (name: string) =>
    Math.round(Number(new RegExp(`^${name}: +(\\d+) kB`, "m").exec(text)?.[1] ?? 0) / 1024);
  const memoryMiB = mebibytes("MemTotal");
  return { memoryMiB, memoryUsedMiB: memoryMiB - mebibytes("MemAvailable") };
}

function temperature(root: string): Pick<NodeLoad, "temperature"> {
  const zones = directoryOf(`${root}/sys/class/thermal`).filter((name) =>
    name.startsWith("thermal_zone"),
  );
  const degrees = zones
    .map((zone) => Number(readText(`${root}/sys/class/thermal/${zone}/temp`) ?? Number.NaN) / 1000)
    .filter((value) => value > -50 && value < 200);
  return degrees.length === 0 ? {} : { temperature: Math.max(...degrees) };
}

function directoryOf(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return []; // no such thing in this machine
  }
}
