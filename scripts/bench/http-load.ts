/**
 * The HTTP load generator, a process of its own inside the clients' namespace.
 *
 * Every client has its own address and one connection, on which it asks for the file
 * again and again (HTTP/1.1 keep-alive) until the time is up; the answer under way is
 * read to its end. Every octet is compared with the file. Slow readers ask once and
 * take 1 KiB a second, and so does the kernel for them: its receive buffers, left alone,
 * grow to megabytes with the first reads, and 200 readers take 800 MB at once.
 *
 *   node http-load.ts '<HttpLoad as JSON>'     prints one HttpLoadResult as JSON
 */

import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { linux, loadCLibrary } from "../../server/net/c-library.ts";

export interface HttpLoad {
  readonly server: string;
  readonly port: number;
  readonly path: string;
  /** The same content on this machine. */
  readonly expected: string;
  /** First address of the clients; the others follow, and the slow readers follow anew from the first. */
  readonly firstClient: string;
  readonly clients: number;
  readonly slowReaders: number;
  readonly addresses: number;
  /** Seconds before the first request. */
  readonly delay: number;
  readonly seconds: number;
}

export interface HttpLoadResult {
  /** Until the time was up. */
  readonly bytesInTime: number;
  readonly answersInTime: number;
  readonly seconds: number;
  /** All, the last answers included. */
  readonly bytes: number;
  readonly answers: number;
  /** Milliseconds from request to last octet, sorted. */
  readonly medianMs: number;
  readonly p99Ms: number;
  /** Share of one core this process used: near 1 it may be the bottleneck itself. */
  readonly busy: number;
  /** Slow readers that still hold their connection. */
  readonly slowReadersLeft: number;
}

const slowReadBytes = 1024;
const slowReadEveryMs = 1000;
const slowReceiveBuffer = new Uint8Array(Int32Array.of(64 * 1024).buffer);
const headerEnd = Buffer.from("\r\n\r\n");

const [argument] = process.argv.slice(2);
if (argument === undefined) throw new Error("no load named");
const load = JSON.parse(argument) as HttpLoad;
const content = readFileSync(load.expected);
const request =
  `GET ${load.path} HTTP/1.1\r\nHost: ${load.server}:${load.port}\r\n` +
  "User-Agent: bench\r\nAccept: */*\r\n\r\n";
const counted = { bytes: 0, bytesInTime: 0, answers: 0, answersInTime: 0 };
const durations: number[] = [];
let deadline = 0;

function addressOf(index: number): string {
  const octets = load.firstClient.split(".").map(Number);
  const last = (octets[3] ?? 0) + (index % load.addresses);
  return [...octets.slice(0, 3), last].join(".");
}

/** One client, connection after connection: a server may close one after some requests. */
async function runClient(index: number): Promise<void> {
  do await runConnection(index);
  while (performance.now() < deadline);
}

/** Compares and counts a piece of the body. */
function check(bytes: Buffer, offset: number, now: number): void {
  const end = offset + bytes.length;
  if (end > content.length || content.compare(bytes, 0, bytes.length, offset, end) !== 0) {
    throw new Error(`octets ${offset} to ${end} are not those of the file`);
  }
  counted.bytes += bytes.length;
  if (now < deadline) counted.bytesInTime += bytes.length;
}

/** Resolves when the server announced the end of the connection, or when the time is up. */
function runConnection(index: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let header = Buffer.alloc(0);
    /** Octets of the body still to come; undefined while the header is read. */
    let left: number | undefined;
    let isLast = false;
    let askedAt = 0;
    const ask = () => {
      askedAt = performance.now();
      socket.write(request);
    };
    const body = (bytes: Buffer) => {
      if (left === undefined) throw new Error("a body without a header");
      const now = performance.now();
      check(bytes, content.length - left, now);
      left -= bytes.length;
      if (left > 0) return;
      left = undefined;
      counted.answers += 1;
      if (now < deadline) counted.answersInTime += 1;
      durations.push(now - askedAt);
      if (now < deadline && !isLast) return ask();
      resolve();
      socket.destroy();
    };
    const receive = (bytes: Buffer) => {
      if (left !== undefined) return body(bytes);
      header = Buffer.concat([header, bytes]);
      const end = header.indexOf(headerEnd);
      if (end < 0) return;
      const text = header.toString("latin1", 0, end);
      const length = Number(/^content-length: (?<length>\d+)/im.exec(text)?.groups?.["length"]);
      if (!text.startsWith("HTTP/1.1 200 ") || length !== content.length) {
        throw new Error(`answered: ${text}`);
      }
      isLast = /^connection: close/im.test(text);
      left = length;
      const rest = header.subarray(end + headerEnd.length);
      header = Buffer.alloc(0);
      if (rest.length > 0) body(rest);
    };
    const socket = connect({
      host: load.server,
      port: load.port,
      localAddress: addressOf(index),
      onread: {
        buffer: Buffer.allocUnsafe(256 * 1024),
        callback(size, buffer) {
          receive(Buffer.from(buffer.buffer, buffer.byteOffset, size));
          return true;
        },
      },
    });
    socket.on("connect", ask);
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("the server hung up")));
  });
}

/** Takes a little once a second, by a receive buffer of a size that stays. */
function startSlowReader(index: number): Socket {
  const socket = connect({
    host: load.server,
    port: load.port,
    localAddress: addressOf(index),
  });
  socket.on("connect", () => {
    keepReceiveBufferSmall(socket);
    socket.write(request);
  });
  socket.on("error", () => socket.destroy());
  socket.pause();
  const timer = setInterval(() => socket.read(slowReadBytes), slowReadEveryMs);
  socket.on("close", () => clearInterval(timer));
  return socket;
}

function keepReceiveBufferSmall(socket: Socket): void {
  // no public name: the handle is how Node itself keeps the descriptor
  const descriptor = (socket as unknown as { _handle: { fd: number } })._handle.fd;
  const { socketLevel, receiveBuffer } = linux;
  const value = slowReceiveBuffer;
  if (c.setsockopt(descriptor, socketLevel, receiveBuffer, value, value.length) !== 0) {
    throw new Error(`a slow reader's buffer cannot be set: errno ${c.errno()}`);
  }
}

function pause(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

const c = await loadCLibrary();
const slow = Array.from({ length: load.slowReaders }, (_, index) => startSlowReader(index));
await pause(load.delay);
const cpu = process.cpuUsage();
const begun = performance.now();
deadline = begun + load.seconds * 1000;
await Promise.all([
  ...Array.from({ length: load.clients }, (_, index) => runClient(index)),
  ...(load.clients === 0 ? [pause(load.seconds)] : []),
]);
const elapsed = (performance.now() - begun) / 1000;
const { user, system } = process.cpuUsage(cpu);
const slowReadersLeft = slow.filter((socket) => !socket.destroyed).length;
for (const socket of slow) socket.destroy();
durations.sort((a, b) => a - b);
const quantile = (share: number) => durations[Math.floor((durations.length - 1) * share)] ?? 0;
const result: HttpLoadResult = {
  ...counted,
  seconds: load.seconds,
  medianMs: quantile(0.5),
  p99Ms: quantile(0.99),
  busy: (user + system) / 1e6 / elapsed,
  slowReadersLeft,
};
process.stdout.write(`${JSON.stringify(result)}\n`);
