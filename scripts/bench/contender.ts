/** A server that is measured: how it is started, when it is ready, what it cost, how it ends. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Cleanup, endProcess } from "../lab/cleanup.ts";
import { inNamespace } from "../lab/command.ts";
import { type Arena, pause } from "./arena.ts";
import { openCpuGroup } from "./cpu.ts";

export interface Contender {
  /** As it stands in the rows: `marcoboot`, `kea-dhcp4 2.2.0`. */
  readonly name: string;
  /** It may not get through a measurement: then that is said, and it has no rows. */
  readonly isFragile?: boolean;
  /**
   * The command that runs in the foreground.
   *
   * @param directory - empty, and this start's own
   */
  command(directory: string): StartCommand;
}

export interface StartCommand {
  readonly program: string;
  readonly args: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Sockets that are open once it serves. */
  readonly ready: readonly { readonly protocol: "udp" | "tcp"; readonly port: number }[];
}

export interface RunningContender {
  readonly pid: number;
  readonly directory: string;
  /** The end of what it wrote on standard output and error. */
  said(): string;
  /** CPU seconds since the start, children included. */
  cpuSeconds(): number;
  /** Octets of memory that belong to it alone or in part (PSS), all its processes. */
  memoryBytes(): number;
  stop(): Promise<void>;
}

const readyWithinMs = 30_000;
const stopWithinMs = 10_000;
let starts = 0;

/** @throws Error with the last words of the server when it does not get ready */
export async function startContender(
  { name, command }: Contender,
  arena: Arena,
  cleanup: Cleanup,
): Promise<RunningContender> {
  starts += 1;
  const directory = mkdtempSync(join(arena.directory, `run${starts}-`));
  mkdirSync(directory, { recursive: true });
  const group = openCpuGroup(`marcoboot-bench-${process.pid}-${starts}`);
  const { program, args, environment, ready } = command(directory);
  const [setpriv, words] = inNamespace(arena.serverNamespace, program, args);
  const child = spawn("sh", ["-c", 'echo $$ > "$0"; exec "$@"', group.procs, setpriv, ...words], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...environment },
  });
  const forget = cleanup.add(name, () => {
    for (const pid of processesOf(group.procs)) endProcess(pid);
    for (let left = 40; !group.close() && left > 0; left--) waitBlocking(50);
  });
  let said = "";
  const listen = (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-4000);
  };
  child.stdout.on("data", listen);
  child.stderr.on("data", listen);
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const stop = async () => {
    endProcess(child.pid, "SIGTERM");
    const left = setTimeout(() => endProcess(child.pid), stopWithinMs);
    await ended;
    clearTimeout(left);
    await endAll(group.procs);
    forget();
    for (let left = 40; !group.close() && left > 0; left--) await pause(50);
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await untilReady(child, ready);
  } catch (cause) {
    await stop();
    throw new Error(`${name} did not start: ${String(cause)}\n${said}`, { cause });
  }
  return {
    pid: Number(child.pid),
    directory,
    said: () => said,
    cpuSeconds: group.seconds,
    memoryBytes: () =>
      processesOf(group.procs).reduce((sum, pid) => sum + proportionalBytes(pid), 0),
    stop,
  };
}

/** For the clean-up, which may run while the process exits. */
function waitBlocking(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** What a daemon leaves behind (a transfer's process, our Redis) has a moment to end by itself. */
async function endAll(procs: string): Promise<void> {
  for (let waited = 0; processesOf(procs).length > 0; waited += 50) {
    if (waited === 5000) for (const pid of processesOf(procs)) endProcess(pid);
    await pause(50);
  }
}

function processesOf(procs: string): readonly number[] {
  return readFileSync(procs, "utf8").split("\n").filter(Boolean).map(Number);
}

function proportionalBytes(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
    return Number(/^Pss:\s+(?<kilobytes>\d+)/m.exec(text)?.groups?.["kilobytes"] ?? 0) * 1024;
  } catch {
    return 0; // it ended meanwhile
  }
}

async function untilReady(child: ChildProcess, ready: StartCommand["ready"]): Promise<void> {
  for (let waited = 0; waited < readyWithinMs; waited += 25) {
    await pause(25);
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
    const pid = Number(child.pid);
    if (!isInNamespace(pid)) continue;
    if (ready.every(({ protocol, port }) => isOpen(pid, protocol, port))) return;
  }
  throw new Error(`not ready in ${readyWithinMs / 1000} s`);
}

/** Until then it sees this machine's own sockets. */
function isInNamespace(pid: number): boolean {
  return readlinkSync(`/proc/${pid}/ns/net`) !== readlinkSync("/proc/self/ns/net");
}

/** proc(5), net/udp and net/tcp of the process's own namespace: local address and port in hexadecimal. */
function isOpen(pid: number, protocol: "udp" | "tcp", port: number): boolean {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, "0")} `;
  const rows = readFileSync(`/proc/${pid}/net/${protocol}`, "latin1").split("\n").slice(1);
  // A connected socket is not a server: state 07 is an unconnected UDP socket, 0A listens.
  return rows.some((row) => row.slice(0, 24).includes(wanted) && / (?:07|0A) /.test(row));
}
