import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { parseImageDigest, parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import { bootFile, textFile } from "../../server/boot/file-cache.ts";
import { ConfigurationError, ForbiddenError } from "../../server/errors.ts";
import { createEventBus } from "../../server/events.ts";
import { startBootListener } from "../../server/http/boot-listener.ts";
import { silentLog } from "../../server/log.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const loopback = parseIpv4Address("127.0.0.1");
const mac = parseMacAddress("52:54:00:00:00:01");
const digest = parseImageDigest("ab".repeat(32));

interface Answer {
  readonly status: number | undefined;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: string;
}

async function listening(t: ExecutionContext) {
  const image = join(temporaryDirectory(t), "image");
  writeFileSync(image, "an image");
  const bus = createEventBus(silentLog);
  const events: DomainEvent[] = [];
  bus.subscribe((event) => void events.push(event));
  const context = {
    config: { bootPort: 0 },
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
  return { ask, events, context, port: listener.port };
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

test("a port that is taken is told by name", async (t) => {
  const { context, port } = await listening(t);
  const error = await t.throwsAsync(startBootListener({ ...context, config: { bootPort: port } }), {
    instanceOf: ConfigurationError,
  });
  t.regex(error?.message ?? "", new RegExp(`TCP port ${port} on 127.0.0.1`));
});
