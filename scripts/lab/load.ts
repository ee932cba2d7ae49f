/**
 * `npm run -s lab -- load`: one server with thousands of agents online. They connect and are
 * left alone: what does that cost? Then one reboot job after the other, each for one node: how
 * long until the node has its order? At the end, if wanted, one job for all of them.
 */

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { readArguments, refuse } from "../usage.ts";
import type { Cleanup } from "./cleanup.ts";
import { startLoadWorld } from "./load-world.ts";

interface LoadOptions {
  readonly nodes: number;
  /** Jobs of one node each. */
  readonly jobs: number;
  /** Time of doing nothing that is measured. */
  readonly idleSeconds: number;
  /** Agents whose beats do not arrive: they hold a connection each. */
  readonly blocked: number;
  /** At the end one job for all nodes. */
  readonly everyone: boolean;
}

interface LoadResult {
  readonly online: number;
  readonly rssMiB: number;
  /** Of one core, while every agent beats each 15 s and waits. */
  readonly cpuPercentIdle: number;
  /** From the request for a job to the moment its node has the order. */
  readonly assignmentP99Ms: number;
  readonly assignmentP50Ms: number;
  /** From the request for a job to the moment the last of all nodes has its order. */
  readonly everyoneSeconds?: number;
}

const ticksPerSecond = 100; // USER_HZ: the same on every Linux

const usage = `
npm run -s lab -- load: one server with thousands of agents online

  --nodes 10000   agents
  --jobs 200      reboot jobs of one node each, one after the other
  --seconds 60    of doing nothing, which are measured
  --blocked 0     agents that cannot use UDP: they hold a connection each
  --everyone      at the end, one job for all nodes
  --json          the result as a line of JSON

Progress is on standard error. Root is needed.
`;

/** @returns the exit code: 1 when an agent was not online. */
export async function runLoad(cleanup: Cleanup): Promise<number> {
  const { values } = readArguments(usage, {
    allowPositionals: true,
    options: {
      nodes: { type: "string", default: "10000" },
      jobs: { type: "string", default: "200" },
      seconds: { type: "string", default: "60" },
      blocked: { type: "string", default: "0" },
      everyone: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  const options = {
    nodes: wholeNumber("nodes", values.nodes, 1),
    jobs: wholeNumber("jobs", values.jobs, 1),
    idleSeconds: wholeNumber("seconds", values.seconds, 1),
    blocked: wholeNumber("blocked", values.blocked, 0),
    everyone: values.everyone,
  };
  const result = await measureLoad(options, cleanup);
  const text = Object.entries(result).map(([name, value]) => `${name.padEnd(16)} ${value}`);
  process.stdout.write(`${values.json ? JSON.stringify(result) : text.join("\n")}\n`);
  return result.online === options.nodes ? 0 : 1;
}

function wholeNumber(name: string, text: string, least: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least) {
    refuse(`--${name} ${text} is no whole number from ${least} on`);
  }
  return value;
}

async function measureLoad(options: LoadOptions, cleanup: Cleanup): Promise<LoadResult> {
  const world = await startLoadWorld({ ...options, say }, cleanup);
  say(`all online; nothing to do for ${options.idleSeconds} s`);
  await sleep(5000);
  const pid = world.pid();
  const before = cpuTicks(pid);
  await sleep(options.idleSeconds * 1000);
  const cpuPercentIdle = ((cpuTicks(pid) - before) / ticksPerSecond / options.idleSeconds) * 100;
  const rssMiB = residentMiB(pid);
  const online = await world.online();

  const timeOf = async (selector: string): Promise<number> => {
    const began = performance.timeOrigin + performance.now();
    return (await world.agents.assigned(await world.reboot(selector))) - began;
  };
  say(`${options.jobs} jobs`);
  const delays: number[] = [];
  for (let count = 0; count < options.jobs; count++) {
    const name = world.names[Math.floor((count * world.names.length) / options.jobs)];
    delays.push(await timeOf(name ?? ""));
  }
  delays.sort((a, b) => a - b);
  if (options.everyone) say("one job for all nodes");
  const everyone = options.everyone ? await timeOf("all") : undefined;
  await world.stop();
  return {
    online,
    rssMiB: Math.round(rssMiB),
    cpuPercentIdle: Math.round(cpuPercentIdle * 10) / 10,
    assignmentP99Ms: Math.round(quantile(delays, 0.99)),
    assignmentP50Ms: Math.round(quantile(delays, 0.5)),
    ...(everyone !== undefined && { everyoneSeconds: Math.round(everyone / 100) / 10 }),
  };
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Clock ticks of processor time so far: user and system. */
function cpuTicks(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

function residentMiB(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, "latin1");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1]) / 1024;
}
