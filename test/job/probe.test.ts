/** Asking a node's services, by TCP and HTTP on loopback. */

import { createServer as createHttpServer, type RequestListener } from "node:http";
import { createServer, type Server, type Socket } from "node:net";
import test, { type ExecutionContext } from "ava";
import { parseIpv4Address } from "#protocol/brand.ts";
import type { Node } from "#protocol/node.ts";
import { createProbe } from "../../server/job/probe.ts";

const address = parseIpv4Address("127.0.0.1");
const node = { name: "a1", address } as Node;
const never = new AbortController().signal;

/** Time in which nothing happens is over at once; an answer has as long as it needs. */
function hurriedProbe(slept: number[] = []) {
  const sleep = (ms: number, signal?: AbortSignal) => {
    slept.push(ms);
    if (ms < 5000) return Promise.resolve();
    return new Promise<void>((resolve) => signal?.addEventListener("abort", () => resolve()));
  };
  return createProbe({ sleep }, () => address);
}

async function listening(t: ExecutionContext, server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  t.teardown(() => new Promise<void>((resolve) => void server.close(() => resolve())));
  const bound = server.address();
  return typeof bound === "object" && bound ? bound.port : 0;
}

function answering(t: ExecutionContext, listener: RequestListener): Promise<number> {
  return listening(t, createHttpServer({ keepAlive: false }, listener));
}

test("a port that takes connections is healthy; the server asks from its own address", async (t) => {
  const sockets: Socket[] = [];
  const port = await listening(
    t,
    createServer((socket) => void sockets.push(socket.on("error", () => undefined).resume())),
  );
  t.is(await hurriedProbe()(node, { check: "port", port }, never), undefined);
});

test("a port that refuses is asked three times", async (t) => {
  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, address, resolve));
  const { port } = closed.address() as { port: number };
  await new Promise((resolve) => closed.close(resolve));
  const slept: number[] = [];
  t.is(
    await hurriedProbe(slept)(node, { check: "port", port }, never),
    `port:${port} of 127.0.0.1: connection refused`,
  );
  t.is(slept.filter((ms) => ms < 5000).length, 2);
});

const answers = [
  [200, undefined],
  [302, undefined],
  [404, "answered with status 404"],
  [503, "answered with status 503"],
] as const;
for (const [status, expected] of answers) {
  test(`an HTTP service that answers ${status} is ${expected ? "not " : ""}healthy`, async (t) => {
    const paths: unknown[] = [];
    const port = await answering(t, (request, response) => {
      paths.push(request.url);
      response.writeHead(status).end("words");
    });
    const reason = await hurriedProbe()(node, { check: "http", port, path: "/ready?x=1" }, never);
    t.is(reason, expected && `http:${port}/ready?x=1 of 127.0.0.1: ${expected}`);
    t.deepEqual(new Set(paths), new Set(["/ready?x=1"]));
  });
}

test("an answer without an end is as good as its status", async (t) => {
  const port = await answering(t, (_request, response) => {
    response.writeHead(200);
    response.write("and so on");
  });
  t.is(await hurriedProbe()(node, { check: "http", port, path: "/" }, never), undefined);
});

test("a service that becomes ready while it is asked is healthy", async (t) => {
  let count = 0;
  const port = await answering(t, (_request, response) => {
    count += 1;
    response.writeHead(count < 3 ? 503 : 200).end();
  });
  t.is(await hurriedProbe()(node, { check: "http", port, path: "/" }, never), undefined);
});

test("a service that never answers is given up", async (t) => {
  const port = await answering(t, () => undefined);
  const probe = createProbe({ sleep: () => Promise.resolve() }, () => address);
  t.is(
    await probe(node, { check: "http", port, path: "/" }, never),
    `http:${port}/ of 127.0.0.1: no answer within 5 s`,
  );
});

test("what is not HTTP is said to be so", async (t) => {
  const port = await listening(
    t,
    createServer((socket) =>
      socket
        .on("error", () => undefined)
        .resume()
        .end("SSH-2.0-x\r\n"),
    ),
  );
  const reason = await hurriedProbe()(node, { check: "http", port, path: "/" }, never);
  t.regex(reason ?? "", /Parse Error/);
});

test("a node without an address is not healthy", async (t) => {
  t.is(
    await hurriedProbe()({ name: "a1" } as Node, { check: "port", port: 22 }, never),
    "port:22: it has no address",
  );
});
