/**
 * Our own redis-server: a child process on a unix socket in the state
 * directory, without a TCP port, with an append-only file. Restarted when it
 * dies. It holds nothing that cannot be made again from the journal, so a
 * damaged file is set aside instead of being repaired.
 */

import { type ChildProcess, spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type Milliseconds, milliseconds } from "#protocol/brand.ts";
import { type Clock, systemClock } from "../clock.ts";
import { ConfigurationError, UnavailableError } from "../errors.ts";
import type { Log } from "../log.ts";

export interface RedisServer {
  /** `unix:///…/redis.sock`; stays the same over restarts of the child. */
  readonly url: string;
  /** Process id of the present child; undefined between a death and the restart. */
  pid(): number | undefined;
  /** TERM, then KILL. Idempotent. */
  close(): Promise<void>;
}

interface RedisContext {
  /** Holds the append-only file and the pid file; made with mode 0700. */
  readonly directory: string;
  readonly log: Log;
  readonly clock?: Clock;
  /** Default: found in PATH. */
  readonly program?: string;
}

const maxSocketPath = 107; // sockaddr_un.sun_path is 108 octets with its closing zero
const readyWithin = milliseconds(15_000);
/** A Redis whose directory vanished ignores TERM. */
const termPatience = milliseconds(3000);
const firstDelay = milliseconds(500);
const longestDelay = milliseconds(30_000);
/** A child that ran this long was healthy: the next restart is quick again. */
const healthyAfter = milliseconds(60_000);

/**
 * Starts Redis and waits until it answers.
 *
 * @throws ConfigurationError when redis-server is not installed, UnavailableError when it does not start.
 */
export async function startRedis(context: RedisContext): Promise<RedisServer> {
  const { log, clock = systemClock, program = "redis-server" } = context;
  mkdirSync(context.directory, { recursive: true, mode: 0o700 });
  const directory = realpathSync(context.directory);
  const pidPath = join(directory, "redis.pid");
  await endLeftover(pidPath, directory, clock, log);
  const { socketPath, removeSocket } = placeSocket(directory);
  const closing = new AbortController();
  let child: ChildProcess | undefined;

  const launch = async (): Promise<ChildProcess> => {
    mkdirSync(directory, { recursive: true, mode: 0o700 }); // somebody may have removed it
    rmSync(socketPath, { force: true });
    const started = await spawnRedis(program, directory, socketPath, log);
    child = started;
    writeFileSync(pidPath, `${started.pid}\n`);
    await waitUntilReady(started, socketPath, clock, closing.signal);
    return started;
  };

  const launchOrSetAside = async (): Promise<ChildProcess> => {
    try {
      return await launch();
    } catch (error) {
      if (error instanceof ConfigurationError || closing.signal.aborted) throw error;
      if (child) await endChild(child, clock);
      if (!setAside(directory)) throw error;
      log.warn({ err: error, directory }, "redis did not start: its file was set aside");
      return await launch();
    }
  };

  const keepRunning = async (first: ChildProcess): Promise<void> => {
    let present = first;
    let delay: Milliseconds = firstDelay;
    while (!closing.signal.aborted) {
      const since = clock.monotonic();
      await exitOf(present);
      if (closing.signal.aborted) return;
      if (clock.monotonic() - since > healthyAfter) delay = firstDelay;
      log.error(
        { code: present.exitCode, signal: present.signalCode },
        "redis died; restarting it",
      );
      await clock.sleep(delay, closing.signal);
      delay = Math.min(delay * 2, longestDelay) as Milliseconds;
      if (closing.signal.aborted) return;
      try {
        present = await launchOrSetAside();
      } catch (error) {
        log.error({ err: error }, "redis could not be restarted");
        if (child) await endChild(child, clock);
      }
    }
  };

  const abandon = async (): Promise<void> => {
    closing.abort();
    if (child) await endChild(child, clock);
    rmSync(pidPath, { force: true });
    removeSocket();
  };

  let kept: Promise<void>;
  try {
    kept = keepRunning(await launchOrSetAside());
  } catch (error) {
    await abandon();
    throw error;
  }
  let closed: Promise<void> | undefined;
  return {
    url: `unix://${socketPath}`,
    pid: () => (child && isAlive(child) ? child.pid : undefined),
    close: () => {
      closed ??= abandon().then(() => kept);
      return closed;
    },
  };
}

/** In the state directory, or below the temporary one where that path is too long for a socket. */
function placeSocket(directory: string) {
  const inside = join(directory, "redis.sock");
  if (Buffer.byteLength(inside) <= maxSocketPath) {
    return { socketPath: inside, removeSocket: () => rmSync(inside, { force: true }) };
  }
  const parent = existsSync("/run") && process.getuid?.() === 0 ? "/run" : tmpdir();
  const place = mkdtempSync(join(parent, "marcoboot-redis-"));
  chmodSync(place, 0o700);
  return {
    socketPath: join(place, "redis.sock"),
    removeSocket: () => rmSync(place, { recursive: true, force: true }),
  };
}

function spawnRedis(
  program: string,
  directory: string,
  socketPath: string,
  log: Log,
): Promise<ChildProcess> {
  const settings = {
    port: "0",
    unixsocket: socketPath,
    unixsocketperm: "700",
    dir: directory,
    appendonly: "yes",
    appendfsync: "everysec",
    save: "",
    "maxmemory-policy": "noeviction",
    daemonize: "no",
  };
  const words = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  const child = spawn(program, words, { stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", (line) => log.debug({ line }, "redis"));
  }
  return new Promise((resolve, reject) => {
    child.once("spawn", () => resolve(child));
    child.once("error", (cause) =>
      reject(
        new ConfigurationError(
          `${program} cannot be run (${cause.message}): install the Debian package redis-server, or set redisUrl`,
          { cause },
        ),
      ),
    );
  });
}

async function waitUntilReady(
  child: ChildProcess,
  socketPath: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const deadline = clock.monotonic() + readyWithin;
  while (clock.monotonic() < deadline && isAlive(child) && !signal.aborted) {
    if (await answersPing(socketPath)) return;
    await clock.sleep(milliseconds(25), signal);
  }
  const how = isAlive(child) ? `did not answer on ${socketPath}` : `ended with ${child.exitCode}`;
  throw new UnavailableError(`redis-server ${how}`);
}

function answersPing(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1000, () => end(false));
    socket.once("error", () => end(false));
    socket.once("connect", () => socket.write("PING\r\n"));
    // While it still reads its file the answer is -LOADING.
    socket.once("data", (bytes) => end(bytes.toString("latin1").startsWith("+PONG")));
  });
}

/** A damaged append-only file keeps Redis from starting; the journal has everything in it. */
function setAside(directory: string): boolean {
  const kept = join(directory, "appendonlydir");
  if (!existsSync(kept)) return false;
  const aside = join(directory, "appendonlydir.damaged");
  rmSync(aside, { recursive: true, force: true });
  renameSync(kept, aside);
  return true;
}

/** A server that was killed leaves its Redis behind: it would hold the socket and the file. */
async function endLeftover(
  pidPath: string,
  directory: string,
  clock: Clock,
  log: Log,
): Promise<void> {
  if (!existsSync(pidPath)) return;
  const pid = Number(readFileSync(pidPath, "utf8"));
  if (!Number.isInteger(pid) || !isOurRedis(pid, directory)) return;
  log.warn({ pid }, "ending the redis of an earlier run");
  process.kill(pid, "SIGTERM");
  const deadline = clock.monotonic() + termPatience;
  while (isOurRedis(pid, directory) && clock.monotonic() < deadline) {
    await clock.sleep(milliseconds(20));
  }
  if (isOurRedis(pid, directory)) process.kill(pid, "SIGKILL");
  while (isOurRedis(pid, directory)) await clock.sleep(milliseconds(20));
}

/** Process ids are reused: it must be a redis-server that works in our directory. */
function isOurRedis(pid: number, directory: string): boolean {
  try {
    const name = readFileSync(`/proc/${pid}/comm`, "utf8").trim();
    const state = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.[0];
    return (
      name.startsWith("redis-server") &&
      state !== "Z" &&
      readlinkSync(`/proc/${pid}/cwd`) === directory
    );
  } catch {
    return false; // no such process
  }
}

async function endChild(child: ChildProcess, clock: Clock): Promise<void> {
  if (!isAlive(child)) return;
  const gone = exitOf(child);
  child.kill("SIGTERM");
  const patience = new AbortController();
  await Promise.race([gone, clock.sleep(termPatience, patience.signal)]);
  patience.abort();
  if (isAlive(child)) child.kill("SIGKILL");
  await gone;
}

function isAlive(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

function exitOf(child: ChildProcess): Promise<void> {
  if (!isAlive(child)) return Promise.resolve();
  return new Promise((resolve) => child.once("exit", () => resolve()));
}
