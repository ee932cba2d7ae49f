/**
 * A node by SSH: for those on which no agent runs. The host key must be one that
 * was recorded when the node was installed; no other is ever accepted, not even
 * the first time.
 */

import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import ssh2, { type Client, type ClientChannel, type SFTPWrapper } from "ssh2";
import type { Ipv4Address } from "#protocol/brand.ts";
import { ForbiddenError, UnavailableError } from "../errors.ts";

export interface SshTarget {
  readonly address: Ipv4Address;
  readonly port: number;
  readonly user: string;
  /** OpenSSH's own format. */
  readonly privateKey: string;
  /** `SHA256:…`, recorded at install. */
  readonly hostKeys: readonly string[];
}

export interface Exit {
  /** 0-255; absent when a signal ended it. */
  readonly code?: number;
  /** `KILL`, without SIG. */
  readonly signal?: string;
}

export interface Shell {
  /**
   * Runs a program. Every argument arrives as it is: no shell of the node looks into it.
   *
   * @param onLine - each line of its output, standard error included, at most 2000 characters
   * @throws UnavailableError when the connection breaks, the abort reason when `signal` does
   */
  run(argv: readonly string[], onLine: (line: string) => void, signal: AbortSignal): Promise<Exit>;
  /** Writes beside it first, then renames: the file is old or new, never half. @throws UnavailableError */
  write(path: string, content: Readable, mode: number): Promise<void>;
  close(): void;
}

const connectPatience = 20_000; // ms
const keepAlive = 15_000; // ms; three without an answer end the connection
const longestLine = 2000; // characters

/**
 * @throws ForbiddenError when the host key is another, or the node does not let us in;
 *   UnavailableError when it cannot be reached
 */
export async function connectShell(target: SshTarget, signal: AbortSignal): Promise<Shell> {
  const { address, port, user, privateKey, hostKeys } = target;
  if (hostKeys.length === 0) {
    throw new ForbiddenError(
      `${address}: no host key was recorded: it was not installed from here`,
    );
  }
  signal.throwIfAborted();
  const client = new ssh2.Client();
  let wrongKey: string | undefined;
  const leave = () => client.destroy();
  signal.addEventListener("abort", leave, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      client.once("ready", resolve);
      client.once("error", reject);
      client.once("close", () => reject(new Error("the connection was closed")));
      client.connect({
        host: address,
        port,
        username: user,
        privateKey,
        readyTimeout: connectPatience,
        keepaliveInterval: keepAlive,
        authHandler: ["publickey"],
        hostVerifier: (key: Buffer) => {
          const shown = fingerprintOf(key);
          if (hostKeys.some((known) => isSame(known, shown))) return true;
          wrongKey = shown;
          return false;
        },
      });
    });
  } catch (cause) {
    signal.removeEventListener("abort", leave);
    client.destroy();
    signal.throwIfAborted();
    if (wrongKey !== undefined) {
      const remedy = "if it was installed anew by other means, install it from here again";
      throw new ForbiddenError(
        `${address}: its host key ${wrongKey} is not the recorded one: ${remedy}`,
        { cause },
      );
    }
    const { level, message } = cause as Error & { readonly level?: string };
    if (level === "client-authentication") {
      throw new ForbiddenError(`${address}: ${user} is not let in with the server's key`, {
        cause,
      });
    }
    throw new UnavailableError(`${address}:${port} by SSH: ${message}`, { cause });
  }
  client.on("error", () => undefined); // whoever waits hears of it by "close"
  return {
    run: (argv, onLine, stop) =>
      run(client, address, argv, onLine, AbortSignal.any([signal, stop])),
    write: (path, content, mode) => write(client, address, path, content, mode),
    close() {
      signal.removeEventListener("abort", leave);
      client.end();
    },
  };
}

async function run(
  client: Client,
  address: string,
  argv: readonly string[],
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<Exit> {
  signal.throwIfAborted();
  const gone = new AbortController();
  const lose = () => gone.abort(new UnavailableError(`${address}: the SSH connection broke`));
  client.once("close", lose);
  const over = AbortSignal.any([signal, gone.signal]);
  try {
    const channel = await whileOpen(over, opened(client, argv));
    const lines = [lineReader(onLine), lineReader(onLine)] as const;
    channel.on("data", lines[0].take);
    channel.stderr.on("data", lines[1].take);
    const exit = new Promise<Exit>((resolve) => {
      channel.on("exit", (code: number | null, name?: string) => {
        resolve(code === null ? { signal: (name ?? "unknown").replace(/^SIG/, "") } : { code });
      });
    });
    const closed = new Promise((resolve) => channel.once("close", resolve));
    channel.end();
    try {
      const result = await whileOpen(over, exit);
      await whileOpen(over, closed);
      for (const one of lines) one.end();
      return result;
    } catch (error) {
      channel.signal("KILL");
      channel.close();
      throw error;
    }
  } finally {
    client.removeListener("close", lose);
  }
}

function opened(client: Client, argv: readonly string[]): Promise<ClientChannel> {
  return new Promise((resolve, reject) => {
    client.exec(argv.map(quoted).join(" "), (error, channel) => {
      if (error) reject(new UnavailableError(`SSH: ${error.message}`, { cause: error }));
      else resolve(channel);
    });
  });
}

async function write(
  client: Client,
  address: string,
  path: string,
  content: Readable,
  mode: number,
): Promise<void> {
  const refuse = (cause: unknown) => {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new UnavailableError(`${address}: ${path} could not be written: ${reason}`, { cause });
  };
  const sftp = await new Promise<SFTPWrapper>((resolve, reject) => {
    client.sftp((error, session) => (error ? reject(refuse(error)) : resolve(session)));
  });
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    await pipeline(content, sftp.createWriteStream(temporary, { mode, flags: "wx" }));
    await new Promise<void>((resolve, reject) => {
      const done = (error: Error | null | undefined) => (error ? reject(error) : resolve());
      sftp.chmod(temporary, mode, (error) => {
        if (error) done(error);
        else sftp.ext_openssh_rename(temporary, path, done); // over what is there, at once
      });
    });
  } catch (cause) {
    sftp.unlink(temporary, () => undefined); // the first error is the one to tell
    throw refuse(cause);
  } finally {
    sftp.end();
  }
}

/** sshd gives one text to the user's shell: in single quotes nothing of it means anything (POSIX XCU 2.2.2). */
export function quoted(argument: string): string {
  return `'${argument.replaceAll("'", `'\\''`)}'`;
}

function fingerprintOf(key: Buffer): string {
  return `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;
}

function isSame(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}

async function whileOpen<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const leave = () => reject(signal.reason);
  signal.addEventListener("abort", leave, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", leave);
  }
}

function lineReader(onLine: (line: string) => void) {
  const decoder = new TextDecoder();
  let rest = "";
  return {
    take(chunk: Buffer) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = (lines.pop() ?? "").slice(0, longestLine);
      for (const line of lines) onLine(line.slice(0, longestLine));
    },
    end() {
      if (rest !== "") onLine(rest);
    },
  };
}
