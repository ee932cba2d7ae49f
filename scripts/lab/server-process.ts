/** The server as a child process inside its namespace, with a configuration file of its own. */

import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { stringify } from "yaml";
import type { Subnet } from "../../server/config.ts";
import { type Cleanup, endProcess } from "./cleanup.ts";
import { inNamespace } from "./command.ts";
import type { LabNetwork } from "./namespaces.ts";

export interface ServerProcess {
  readonly adminSocket: string;
  /** The one-time code of its console; undefined once an admin exists. */
  readonly setupCode: string | undefined;
  /** SIGTERM, then SIGKILL after 15 s. */
  stop(): Promise<void>;
  /** SIGKILL: what it had acknowledged must be there after the next start. */
  kill(): Promise<void>;
}

export type SubnetSettings = Partial<Pick<Subnet, "mode" | "secureBoot">>;

export interface ServerOptions {
  readonly network: Pick<LabNetwork, "serverNamespace" | "serverInterface">;
  /** State goes to `<directory>/server`, the log to `<directory>/server.log`. Keep the path short. */
  readonly directory: string;
  readonly netinstDirectory: string;
  readonly loadersDirectory: string;
  readonly adminPort: number;
  /** Settings of the subnet other than the usual ones. */
  readonly subnet?: SubnetSettings;
  /** Other settings of the configuration. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** A directory of programs that the server finds before the machine's own. */
  readonly programs?: string;
  readonly logLevel?: string;
  readonly cleanup: Cleanup;
}

const startWithinMs = 60_000;
const stopWithinMs = 15_000;
const root = join(import.meta.dirname, "..", "..");

/** @throws Error with the last lines of the log when the server does not get ready. */
export async function startServerProcess(options: ServerOptions): Promise<ServerProcess> {
  const { directory, network, cleanup } = options;
  const stateDirectory = join(directory, "server");
  mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
  const config = join(directory, "marcoboot.yaml");
  writeFileSync(
    config,
    stringify({
      stateDirectory,
      netinstDirectory: options.netinstDirectory,
      loadersDirectory: options.loadersDirectory,
      logLevel: options.logLevel ?? "info",
      subnets: [
        {
          cidr: "10.77.0.0/24",
          interface: network.serverInterface,
          reserved: ["10.77.0.10", "10.77.0.99"],
          ...options.subnet,
        },
      ],
      adminPort: options.adminPort,
      enrolmentMinutes: 30, // an emulated Raspberry Pi fetches its netinst at 150 kB/s
      ...options.settings,
    }),
  );
  const logPath = join(directory, "server.log");
  const log = createWriteStream(logPath, { flags: "a" });
  const words = [join(root, "server", "cli", "main.ts"), "serve", "--config", config];
  // `ip netns exec` gives it mounts of its own.
  const hide = 'mount --bind "$0" /usr/local/sbin && exec "$@"';
  const [command, args] =
    options.programs === undefined
      ? inNamespace(network.serverNamespace, process.execPath, words)
      : inNamespace(network.serverNamespace, "sh", [
          ...["-c", hide, options.programs, process.execPath, ...words],
        ]);
  const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  child.stderr.pipe(log);
  const forget = cleanup.add("server", () => endNow(child.pid));
  const exited = exitOf(child).finally(forget);
  let setupCode: string | undefined;
  try {
    await readyLine(child, (code) => {
      setupCode = code;
    });
  } catch (cause) {
    endProcess(child.pid);
    await exited;
    const tail = readFileSync(logPath, "utf8").split("\n").slice(-20).join("\n");
    throw new Error(`the server did not start: ${String(cause)}\n${tail}`, { cause });
  }
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) endProcess(child.pid, signal);
    await exited;
  };
  return {
    adminSocket: join(stateDirectory, "admin.sock"),
    setupCode,
    kill: () => end("SIGKILL"),
    async stop() {
      const escalation = setTimeout(() => endProcess(child.pid), stopWithinMs);
      await end("SIGTERM");
      clearTimeout(escalation);
    },
  };
}

/** For the synchronous clean-up: a moment to take its children down, then the end. */
function endNow(pid: number | undefined): void {
  endProcess(pid, "SIGTERM");
  for (let waited = 0; waited < 3000 && pid !== undefined && isRunning(pid); waited += 50) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
  }
  endProcess(pid);
}

/** False for a zombie too: while we wait without the event loop nobody collects it. */
function isRunning(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false; // no such process any more
  }
}

function exitOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.on("error", () => resolve());
    child.on("exit", () => resolve());
  });
}

function readyLine(child: ChildProcess, onCode: (code: string) => void): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(new Error("not ready in 60 s")), startWithinMs);
  child.on("error", reject);
  child.on("exit", (status, signal) => reject(new Error(`it ended with ${status ?? signal}`)));
  if (child.stdout) {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const code = /^set-up code: (?<code>\S+)$/.exec(line)?.groups?.["code"];
      if (code !== undefined) onCode(code);
      if (line === "ready") resolve();
    });
  }
  return promise.finally(() => clearTimeout(timer));
}
