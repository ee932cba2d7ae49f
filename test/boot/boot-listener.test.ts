import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { parseImageDigest, parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import { bootFile, textFile } from "../../server/boot/file-cache.ts";
import type { Config } from "../../server/config.ts";
import { ConfigurationError, ForbiddenError } from "../../server/errors.ts";
import { createEventBus } from "../../server/events.ts";
import { startBootListener } from "../../server/http/boot-listener.ts";
import { silentLog } from "../../server/log.ts";
import { manualClock } from "../support/manual-clock.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const loopback = parseIpv4Address("127.0.0.1");
const mac = parseMacAddress("52:54:00:00:00:01");
const digest = parseImageDigest("ab".repeat(32));

interface Answer {
  readonly status: number | undefined;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: string;
}

const roomy = { connections: 1024, connectionsPerClient: 16, idleSeconds: 120 };

async function listening(t: ExecutionContext, bootHttp: Config["bootHttp"] = roomy) {
  const image = join(temporaryDirectory(t), "image");
  writeFileSync(image, "an image");
  const bus = createEventBus(silentLog);
  const events: DomainEvent[] = [];
  const ended: string[] = [];
  bus.subscribe((event) => void events.push(event));
  const context = {
    config: { bootPort: 0, bootHttp },
    address: loopback,
    files: {
      open: (name: string) => {
        if (name === "boot/broken") throw new Error("the disk is gone");
        if (name === "boot/script") return textFile("script", "#!ipxe\n");
        return name === "boot/loaders/a.efi"
          ? bootFile("a.efi", Buffer.from("loader"), '"1"')
          : undefined;
      },
    },
    images: {
      open: (asked: string, ticket: string) => {
        if (ticket !== "good" || asked !== digest) throw new ForbiddenError("not with this ticket");
        return { path: image, sizeBytes: 8 };
      },
    },
    events: bus,
    log: silentLog,
    leases: { macOf: () => mac },
    clock: manualClock(),
    metrics: { connectionEnded: (reason: string) => void ended.push(reason) },
  };
  const listener = await startBootListener(context);
  t.teardown(() => listener.close());
  const ask = (path: string, headers: Record<string, string> = {}, method = "GET") =>
    new Promise<Answer>((resolve, reject) => {
      const options = { host: "127.0.0.1", port: listener.port, path, method, headers };
      const asked = request(options, (response) => {
        let body = "";
        response.on("data", (chunk) => {
          body += chunk;
        });
        const { statusCode: status, headers: got } = response;
        response.on("end", () => resolve({ status, headers: got, body }));
      });
      asked.on("error", reject);
      asked.end();
    });
  return { ask, events, ended, context, port: listener.port };
}

const rows = [
  ["a loader", "/boot/loaders/a.efi", {}, "GET", 200, "loader"],
  ["a loader's head", "/boot/loaders/a.efi", {}, "HEAD", 200, ""],
  [
    "a loader, Host without port as UEFI sends it",
    "/boot/loaders/a.efi",
    { host: "127.0.0.1" },
    "GET",
    200,
    "loader",
  ],
  ["a loader in absolute form", "http://127.0.0.1/boot/loaders/a.efi", {}, "GET", 200, "loader"],
  ["a loader with a query", "/boot/loaders/a.efi?x=1", {}, "GET", 200, "loader"],
  ["a part of a loader", "/boot/loaders/a.efi", { range: "bytes=1-3" }, "GET", 206, "oad"],
  [
    "an image with its ticket",
    `/images/${digest}`,
    { authorization: "Bearer good" },
    "GET",
    200,
    "an image",
  ],
  [
    "the rest of an image",
    `/images/${digest}`,
    { authorization: "Bearer good", range: "bytes=3-", "if-range": `"${digest}"` },
    "GET",
    206,
    "image",
  ],
] as const;
for (const [title, path, headers, method, status, body] of rows) {
  test(`${title} is served`, async (t) => {
    const { ask } = await listening(t);
    const answer = await ask(path, headers, method);
    t.is(answer.status, status);
    t.is(answer.body, body);
  });
}

const refusals = [
  ["an unknown name", "/boot/none", {}, "GET", 404, "/problems/not-found"],
  ["a broken escape", "/boot/%zz", {}, "GET", 404, "/problems/not-found"],
  ["the root", "/", {}, "GET", 404, "/problems/not-found"],
  ["a file that cannot be read", "/boot/broken", {}, "GET", 500, "about:blank"],
  ["an image without ticket", `/images/${digest}`, {}, "GET", 401, "/problems/unauthorised"],
  [
    "an image with another ticket",
    `/images/${digest}`,
    { authorization: "Bearer bad" },
    "GET",
    403,
    "/problems/forbidden",
  ],
  [
    "what is no digest",
    "/images/..%2f..%2fetc%2fpasswd",
    { authorization: "Bearer good" },
    "GET",
    404,
    "/problems/not-found",
  ],
  ["a POST", "/boot/loaders/a.efi", {}, "POST", 405, "about:blank"],
] as const;
for (const [title, path, headers, method, status, type] of refusals) {
  test(`${title} is refused with ${status} and a problem document`, async (t) => {
    const { ask } = await listening(t);
    const answer = await ask(path, headers, method);
    t.is(answer.status, status);
    t.is(answer.headers["content-type"], "application/problem+json");
    const problem = JSON.parse(answer.body) as { type: string; status: number };
    t.is(problem.type, type);
    t.is(problem.status, status);
    t.notRegex(answer.body, /the disk is gone/);
  });
}

test("text made for one node may not be kept by anyone", async (t) => {
  const { ask } = await listening(t);
  const { headers } = await ask("/boot/script");
  t.is(headers["cache-control"], "no-store");
  t.is(headers["etag"], undefined);
});

test("what was fetched and what was not found is told, a HEAD is not", async (t) => {
  const { ask, events } = await listening(t);
  await ask("/boot/loaders/a.efi", {}, "HEAD");
  await ask("/boot/none");
  await ask("/boot/loaders/a.efi");
  const event = { topic: "boot-file", protocol: "http", address: loopback, mac } as const;
  t.deepEqual(events, [
    { ...event, name: "boot/none", bytes: 0, outcome: "not-found" },
    { ...event, name: "boot/loaders/a.efi", bytes: 6, outcome: "sent" },
  ]);
});

test("a client that hangs up with the last octet is still told by its address", async (t) => {
  const { context, events, port } = await listening(t);
  const socket = connect(port, "127.0.0.1");
  socket.write(
    `GET /images/${digest} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nConnection: close\r\n\r\n`,
  );
  socket.on("data", () => socket.destroy());
  await once(socket, "close");
  const told = Promise.withResolvers<void>();
  context.events.subscribe(() => told.resolve());
  if (events.length === 0) await told.promise;
  t.like(events[0], { name: `images/${digest}`, address: loopback, mac });
});

/** A connection of its own from one of loopback's many addresses. */
async function connected(t: ExecutionContext, port: number, localAddress: string) {
  const socket = connect({ port, host: "127.0.0.1", localAddress });
  t.teardown(() => socket.destroy());
  socket.on("error", () => undefined); // a reset is one way to be ended
  const closed = new Promise((resolve) => socket.once("close", resolve)); // `once` would reject for a reset
  await once(socket, "connect");
  return { socket, closed };
}

test("a client that opens too many connections loses its own, and nobody else's", async (t) => {
  const { ask, ended, port } = await listening(t, { ...roomy, connectionsPerClient: 4 });
  const other = await connected(t, port, "127.0.0.3");
  const stalled = [];
  for (let count = 0; count < 6; count += 1) {
    const one = await connected(t, port, "127.0.0.2");
    one.socket.write("GET /boot/loaders/a.efi HTTP/1.1\r\nHost:"); // and never the rest
    stalled.push(one);
  }
  await Promise.all(stalled.slice(0, 2).map(({ closed }) => closed));
  t.deepEqual(ended, ["client", "client"]);
  t.is((await ask("/boot/loaders/a.efi")).status, 200);
  other.socket.write("GET /boot/loaders/a.efi HTTP/1.1\r\nHost: x\r\n\r\n");
  const [answer] = (await once(other.socket, "data")) as [Buffer];
  t.regex(answer.toString(), /^HTTP\/1\.1 200 /);
});

test("a listener that is full still takes a new client", async (t) => {
  const { ask, ended, port } = await listening(t, { ...roomy, connections: 16 });
  const [first] = await Promise.all(
    Array.from({ length: 16 }, (_, at) => connected(t, port, `127.0.1.${at + 1}`)),
  );
  t.is((await ask("/boot/loaders/a.efi")).body, "loader");
  t.true(ended.length >= 1 && ended.every((reason) => reason === "total"));
  t.truthy(first);
});

test("a request with a body is answered, and its connection ends: nobody waits for the body", async (t) => {
  const { port } = await listening(t);
  const { socket, closed } = await connected(t, port, "127.0.0.1");
  let text = "";
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  socket.write("GET /boot/loaders/a.efi HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\na");
  await closed;
  t.regex(text, /^HTTP\/1\.1 200 .*connection: close.*loader$/is);
});

test("a port that is taken is told by name", async (t) => {
  const { context, port } = await listening(t);
  const error = await t.throwsAsync(
    startBootListener({ ...context, config: { ...context.config, bootPort: port } }),
    {
      instanceOf: ConfigurationError,
    },
  );
  t.regex(error?.message ?? "", new RegExp(`TCP port ${port} on 127.0.0.1`));
});
