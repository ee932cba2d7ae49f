/**
 * The image as it comes from the server: fetched over plain HTTP with a ticket, resumed where the
 * connection broke, hashed as stored, unpacked, hashed as plain. Trusted for its digests only.
 *
 *   HTTP body -> sha-256 (stored) -> gunzip | zstd | xz | nothing -> sha-256 (plain) -> consumer
 */

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { type ClientRequest, get, type IncomingMessage } from "node:http";
import { Duplex, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import type { Compression, ImageManifest } from "#protocol/image.ts";
import type { Console } from "./console.ts";
import { AgentError, ImageMismatchError, NetworkError, reasonOf, ToolError } from "./errors.ts";
import { openCollector } from "./memory.ts";
import { commandOf } from "./tools.ts";
import { backOff, machineTime, type Time } from "./wait.ts";

export interface ImageSource {
  readonly url: string;
  /** Bearer token. */
  readonly ticket: string;
  readonly manifest: ImageManifest;
  readonly console: Console;
  /** First delay after a failure; default 1000. */
  readonly retryMs?: number;
  /** So long it tries on without one octet. Default 20 minutes, after which a netinst that nobody answers restarts. */
  readonly patienceMs?: number;
  /** Default: the machine's. */
  readonly time?: Time;
}

const silenceMs = 30_000;

/**
 * Calls `consume` with the plain octets in order, one chunk at a time.
 *
 * @throws ImageMismatchError if length or digest is not the manifest's: what was consumed is worthless.
 * @throws NetworkError when the server stayed away.
 */
export async function streamImage(
  source: ImageSource,
  consume: (chunk: Buffer, position: number) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { manifest } = source;
  const stored = createHash("sha256");
  const plain = createHash("sha256");
  const collect = openCollector();
  let position = 0;
  const sink = async (chunks: AsyncIterable<Buffer>) => {
    for await (const chunk of chunks) {
      if (position + chunk.length > manifest.sizeBytes) {
        throw new ImageMismatchError(
          `image ${manifest.name} unpacks to more than the ${manifest.sizeBytes} bytes of its manifest`,
        );
      }
      plain.update(chunk);
      await consume(chunk, position);
      position += chunk.length;
      collect(chunk.length);
    }
  };
  // A download that waits for its server ends with what it was for, not when its patience does.
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  const input = Readable.from(
    download(source, (part) => void stored.update(part), either),
    {
      objectMode: false,
      highWaterMark: 1 << 20,
    },
  );
  const unpack = unpacker(manifest.compression);
  try {
    await (unpack === undefined
      ? pipeline(input, sink, { signal })
      : pipeline(input, unpack, sink, { signal }));
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (error instanceof AgentError) throw error;
    throw new ImageMismatchError(
      `image ${manifest.name} cannot be unpacked as ${manifest.compression}`,
      {
        cause: error,
      },
    );
  } finally {
    over.abort();
  }
  expectDigest("stored", stored.digest("hex"), manifest.storedDigest, manifest.name);
  if (position !== manifest.sizeBytes) {
    throw new ImageMismatchError(
      `image ${manifest.name} has ${position} plain bytes instead of ${manifest.sizeBytes}`,
    );
  }
  expectDigest("plain", plain.digest("hex"), manifest.digest, manifest.name);
}

function expectDigest(which: string, found: string, wanted: string, name: string): void {
  if (found !== wanted) {
    throw new ImageMismatchError(
      `image ${name}: sha-256 of the ${which} bytes is ${found} instead of ${wanted}`,
    );
  }
}

/** Stored octets in order, from as many requests as it takes. */
async function* download(
  source: ImageSource,
  onBytes: (part: Buffer) => void,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const total = source.manifest.storedBytes;
  const { patienceMs = 20 * 60_000, retryMs = 1000, time = machineTime } = source;
  let position = 0;
  let lastAt = time.now();
  for (let failures = 0; position < total; ) {
    try {
      for await (const part of request(source, position, signal)) {
        const bytes = part as Buffer;
        if (position + bytes.length > total) {
          throw new ImageMismatchError(`the server sends more than ${total} stored bytes`);
        }
        position += bytes.length;
        failures = 0;
        lastAt = time.now();
        onBytes(bytes);
        yield bytes;
      }
      if (position < total)
        throw new NetworkError(`the connection ended after ${position} of ${total} bytes`);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof AgentError && !error.retryable) throw error;
      failures++;
      if (time.now() - lastAt >= patienceMs) throw error;
      source.console.info(`download: ${reasonOf(error)}; going on at ${position}`);
      await time.sleep(backOff(failures, retryMs, 30_000), signal);
      signal.throwIfAborted();
    }
  }
}

async function* request(
  source: ImageSource,
  position: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const { outgoing, incoming } = await open(source, position, signal);
  try {
    for await (const part of incoming) yield part as Buffer;
  } catch (cause) {
    throw new NetworkError(`the connection broke`, { cause });
  } finally {
    outgoing.destroy();
  }
}

function open(
  source: ImageSource,
  position: number,
  signal: AbortSignal,
): Promise<{ outgoing: ClientRequest; incoming: IncomingMessage }> {
  return new Promise((resolve, reject) => {
    const outgoing = get(source.url, {
      signal,
      timeout: silenceMs,
      agent: false,
      headers: {
        authorization: `Bearer ${source.ticket}`,
        ...(position === 0 ? {} : { range: `bytes=${position}-` }),
      },
    });
    outgoing.on("timeout", () => outgoing.destroy(new Error(`silent for ${silenceMs} ms`)));
    outgoing.on("error", (cause) => reject(new NetworkError(`fetching ${source.url}`, { cause })));
    outgoing.on("response", (incoming) => {
      const refusal = whyUseless(incoming, position, source.url);
      if (refusal === undefined) return resolve({ outgoing, incoming });
      outgoing.destroy();
      reject(refusal);
    });
  });
}

function whyUseless(
  incoming: IncomingMessage,
  position: number,
  url: string,
): AgentError | undefined {
  const status = incoming.statusCode ?? 0;
  if (status === 206) {
    const start = /^bytes (\d+)-/.exec(incoming.headers["content-range"] ?? "")?.[1];
    if (Number(start) === position) return undefined;
    return new NetworkError(`${url} was resumed at ${start} instead of ${position}`);
  }
  if (status === 200) {
    return position === 0 ? undefined : new NetworkError(`${url} does not resume at ${position}`);
  }
  const text = `${url} answered ${status}`;
  const passing = status >= 500 || status === 429 || status === 408;
  return passing ? new NetworkError(text) : new AgentError(text);
}

function unpacker(compression: Compression): Duplex | undefined {
  const chunkSize = 256 << 10;
  switch (compression) {
    case "none":
      return undefined;
    case "gzip":
      return createGunzip({ chunkSize });
    case "zstd":
      return createZstdDecompress({ chunkSize });
    case "xz":
      return throughXz();
  }
}

/** Node has no xz: the tool unpacks as a child, at most 64 MiB of dictionary. */
function throughXz(): Duplex {
  const [program, args] = commandOf("xz", ["-dcq", "--memlimit-decompress=80MiB"]);
  const child = spawn(program, [...args], { stdio: ["pipe", "pipe", "pipe"] });
  let said = "";
  child.stderr.on("data", (part: Buffer) => {
    said = (said + part.toString("utf8")).slice(-400);
  });
  const ended = new Promise<void>((resolve, reject) => {
    child.on("error", (cause) => reject(new ToolError("cannot run xz", { cause })));
    child.on("close", (code) => {
      if (code === 0) resolve();
      else reject(new ImageMismatchError(`xz ended with ${code}: ${said.trim()}`));
    });
  });
  ended.catch(() => {}); // told by the output below, if anyone still reads it
  const stream = Duplex.from(async function* (source: AsyncIterable<Buffer>) {
    const fed = pipeline(source, child.stdin);
    fed.catch(() => {}); // xz gave up (its exit code says why), or the source failed (awaited below)
    yield* child.stdout as AsyncIterable<Buffer>;
    await ended;
    await fed;
  });
  stream.on("close", () => child.kill("SIGKILL"));
  return stream;
}
