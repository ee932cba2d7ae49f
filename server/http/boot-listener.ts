/**
 * The plain HTTP listener of one interface, for firmware, iPXE, stage 1 and agents.
 *
 *   GET|HEAD /boot/...            the tables of boot files (boot/profile.ts)
 *   GET|HEAD /images/<digest>     an image, for the bearer of a ticket
 *
 * Nothing else exists here, and nothing here changes anything. The Host header
 * is not read: UEFI sends it without the port. Errors are problem documents
 * (RFC 9457), which firmware ignores and a person with curl can read.
 */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import {
  type ImageDigest,
  type Ipv4Address,
  type MacAddress,
  parseImageDigest,
  parseIpv4Address,
} from "#protocol/brand.ts";
import type { BootFiles } from "../boot/file.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import { NotFoundError, ProvisionError, UnauthorisedError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { Log } from "../log.ts";
import { listenOn } from "../net/listen.ts";
import { limitSendBuffers } from "../net/send-buffer.ts";
import { type Connection, createConnections } from "./connections.ts";
import { createFileSlices, type FileSlices } from "./file-slices.ts";
import { type Sendable, sendFile } from "./send-file.ts";

/** Time for a request's headers, and for all of it: requests here have no body. Looked after every second. */
const headersTimeoutMs = 10_000;
const requestTimeoutMs = 15_000;
const checkingIntervalMs = 1000;
/**
 * Of each connection, doubled by the kernel. At a LAN's 0.2 ms this is more than 10 Gbit/s;
 * 200 readers that stop cost 100 MB and not 800, and no one's turn is long.
 */
const sendBufferOctets = 256 * 1024;
const keepAliveTimeoutMs = 15_000;
const maxRequestsPerConnection = 1000;
const maxHeaderOctets = 8 * 1024;
const maxHeaders = 64;
/** Names from the wire are cut to this in events and logs. */
const maxNameShown = 200;

/** The library as this listener sees it. */
export interface BootImages {
  /**
   * Where the image lies, if `ticket` belongs to a running attempt that installs it.
   *
   * @throws ProvisionError when it does not, or there is no such image
   */
  open(digest: ImageDigest, ticket: string): { readonly path: string; readonly sizeBytes: number };
}

export interface BootListenerContext {
  readonly config: Pick<Config, "bootPort" | "bootHttp">;
  readonly address: Ipv4Address;
  /** Only what comes in there is heard; absent: whatever reaches the address. */
  readonly interfaceName?: string;
  readonly files: BootFiles;
  readonly images: BootImages;
  readonly events: Pick<EventBus, "publish">;
  readonly log: Log;
  readonly leases: { macOf(address: Ipv4Address): MacAddress | undefined };
  readonly clock: Pick<Clock, "monotonic">;
  readonly metrics: BootHttpMetrics;
}

export interface BootHttpMetrics {
  /** A connection was ended because there were too many, of one client or in all. */
  connectionEnded(reason: "client" | "total"): void;
}

export interface BootListener {
  readonly port: number;
  /** Ends the connections that are open. */
  close(): Promise<void>;
}

/** @throws ConfigurationError when the port is taken */
export async function startBootListener(context: BootListenerContext): Promise<BootListener> {
  const {
    connections: total,
    connectionsPerClient: perClient,
    idleSeconds,
  } = context.config.bootHttp;
  const connections = createConnections(
    { total, perClient },
    () => context.clock.monotonic(),
    ({ address }, reason) => {
      context.metrics.connectionEnded(reason);
      context.log.debug({ address, reason }, "too many boot connections: one is closed");
    },
  );
  const slices = createFileSlices();
  const connectionOf = new WeakMap<Socket, Connection>();
  const server = createServer(
    {
      maxHeaderSize: maxHeaderOctets,
      connectionsCheckingInterval: checkingIntervalMs,
      noDelay: true,
    },
    (request, response) => {
      const connection = connectionOf.get(request.socket);
      if (connection) {
        connections.setBusy(connection, true);
        response.once("close", () => connections.setBusy(connection, false));
      }
      if (hasBody(request)) response.shouldKeepAlive = false; // nothing here reads one: it ends with the answer
      void answer(context, request, response, slices);
    },
  );
  server.headersTimeout = headersTimeoutMs;
  server.requestTimeout = requestTimeoutMs;
  server.keepAliveTimeout = keepAliveTimeoutMs;
  server.timeout = idleSeconds * 1000;
  server.maxRequestsPerSocket = maxRequestsPerConnection;
  server.maxHeadersCount = maxHeaders;
  server.on("connection", (socket: Socket) => {
    const connection = connectionAt(socket);
    connectionOf.set(socket, connection);
    connections.add(connection);
    socket.once("close", () => connections.remove(connection));
  });
  const { config, address, interfaceName, log } = context;
  const where = { interface: interfaceName, address, port: config.bootPort };
  const port = await listenOn(server, where, log);
  await limitSendBuffers(server, sendBufferOctets);
  server.on("error", (error) => log.warn({ err: error }, "boot listener failed"));
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function connectionAt(socket: Socket): Connection {
  return {
    address: addressOf(socket),
    taken: () => socket.bytesWritten - socket.writableLength,
    end: () => socket.destroy(),
  };
}

/** RFC 9112 §6.3: a request has a body exactly when one of these says so. */
function hasBody({ headers }: IncomingMessage): boolean {
  const length = headers["content-length"];
  return headers["transfer-encoding"] !== undefined || (length !== undefined && length !== "0");
}

/** The only catch: what a file or an image refused becomes a problem document. */
async function answer(
  context: BootListenerContext,
  request: IncomingMessage,
  response: ServerResponse,
  slices: FileSlices,
): Promise<void> {
  const name = nameOf(request);
  const address = peerOf(request); // now: a socket that was closed tells no address
  try {
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("allow", "GET, HEAD");
      problem(response, request, { status: 405, title: `no ${request.method} here` });
      return;
    }
    const sent = await sendFile(request, response, find(context, request, name), slices);
    publish(context, request, { address, name, ...sent });
  } catch (error) {
    const known = error instanceof ProvisionError;
    if (!known) context.log.error({ err: error, name: shown(name) }, "boot request failed");
    if (response.headersSent) {
      response.destroy();
      return;
    }
    problem(response, request, {
      status: known ? error.status : 500,
      title: known ? error.message : "Internal Server Error",
      ...(known && { code: error.code }),
    });
    const outcome = error instanceof NotFoundError ? "not-found" : "aborted";
    publish(context, request, { address, name, bytes: 0, outcome });
  }
}

/** @throws ProvisionError: no such file, no ticket, or the ticket does not allow it */
function find(context: BootListenerContext, request: IncomingMessage, name: string): Sendable {
  const image = /^images\/(?<digest>[^/]*)$/.exec(name)?.groups?.["digest"];
  if (image !== undefined) {
    const digest = digestFrom(image);
    const { path } = context.images.open(digest, ticketOf(request));
    return { contentType: "application/octet-stream", etag: `"${digest}"`, content: { path } };
  }
  const peer = { address: peerOf(request), protocol: "http" } as const;
  const file = context.files.open(name, peer);
  if (!file) throw new NotFoundError(`no boot file ${JSON.stringify(shown(name))}`);
  return {
    contentType: file.contentType,
    ...(file.etag !== undefined && { etag: file.etag }),
    content: file.path === undefined ? { bytes: file.bytes() } : { path: file.path },
  };
}

function digestFrom(text: string): ImageDigest {
  try {
    return parseImageDigest(text);
  } catch (cause) {
    throw new NotFoundError(`no image ${JSON.stringify(shown(text))}`, { cause });
  }
}

/** @throws UnauthorisedError without a bearer token (RFC 6750 §2.1) */
function ticketOf(request: IncomingMessage): string {
  const ticket = /^Bearer +(?<ticket>[\w.~+/=-]+)$/i.exec(request.headers.authorization ?? "");
  const text = ticket?.groups?.["ticket"];
  if (text === undefined)
    throw new UnauthorisedError("an image needs a ticket: authorization: Bearer");
  return text;
}

/** Path without leading slash and query, percent-decoded; iPXE and UEFI send plain ones. */
function nameOf(request: IncomingMessage): string {
  const target = (request.url ?? "/").replace(/^https?:\/\/[^/]*/i, ""); // absolute form: RFC 9112 §3.2.2
  const path = target.split(/[?#]/, 1)[0] ?? "";
  try {
    return decodeURIComponent(path).replace(/^\//, "");
  } catch {
    return path.replace(/^\//, ""); // a broken escape: a name that is in no table
  }
}

function peerOf({ socket }: IncomingMessage): Ipv4Address {
  return addressOf(socket);
}

/** A socket that is closed already has no address any more. */
function addressOf(socket: Socket): Ipv4Address {
  return parseIpv4Address((socket.remoteAddress ?? "0.0.0.0").replace(/^::ffff:/, ""));
}

function publish(
  context: BootListenerContext,
  request: IncomingMessage,
  sent: {
    readonly address: Ipv4Address;
    readonly name: string;
    readonly bytes: number;
    readonly outcome: "sent" | "not-found" | "aborted";
  },
): void {
  if (request.method !== "GET") return; // a HEAD is a question, not a fetch
  const mac = context.leases.macOf(sent.address);
  context.events.publish({
    topic: "boot-file",
    ...sent,
    ...(mac && { mac }),
    protocol: "http",
    name: shown(sent.name),
  });
}

function problem(
  response: ServerResponse,
  request: IncomingMessage,
  what: { readonly status: number; readonly title: string; readonly code?: string },
): void {
  const { status, title, code } = what;
  const instance = shown(request.url ?? "/");
  const type = code === undefined ? "about:blank" : `/problems/${code}`;
  const body = Buffer.from(JSON.stringify({ type, title, status, instance }));
  response.writeHead(status, {
    "content-type": "application/problem+json",
    "content-length": body.length,
    ...(status === 401 && { "www-authenticate": "Bearer" }),
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

function shown(text: string): string {
  return text.length > maxNameShown ? `${text.slice(0, maxNameShown)}…` : text;
}
