/**
 * E57: OpenSSL's own client whose clock stands in 1970, or after 2038, against the agent
 * listener: it believes the listener, and the listener believes its node's certificate.
 */

import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import test from "ava";
import { macA, startServer } from "../agent/agent-peer.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const year = 365.25 * 24 * 3600;

for (const [title, seconds] of [
  ["1970, a minute after its power-on", 60],
  ["1980, as a PC with an empty battery", 10 * year],
  ["2038, after 31 bits of seconds", 2 ** 31],
  ["2106, after 32 bits of seconds", 2 ** 32],
] as const) {
  test(`a node whose clock says ${title}`, async (t) => {
    const server = await startServer(t);
    const { credential } = await server.enrolled(macA);
    const directory = temporaryDirectory(t);
    const paths = Object.entries({ ...credential, ca: server.site.authorityPem }).map(
      ([name, content]) => {
        const path = join(directory, `${name}.pem`);
        writeFileSync(path, content);
        return [name, path] as const;
      },
    );
    const { key = "", cert = "", ca = "" } = Object.fromEntries(paths);
    const client = spawn("openssl", [
      ...["s_client", "-quiet", "-verify_return_error", "-verify_ip", "127.0.0.1"],
      ...["-attime", String(Math.trunc(seconds)), "-purpose", "sslserver"],
      ...["-connect", `127.0.0.1:${server.listener.port}`],
      ...["-CAfile", ca, "-cert", cert, "-key", key],
    ]);
    client.stdin.end(
      "GET /agent/v1/assignment?wait=0 HTTP/1.1\r\nHost: marcoboot\r\nConnection: close\r\n\r\n",
    );
    const [answer, complaints] = await Promise.all([text(client.stdout), text(client.stderr)]);
    t.regex(answer, /^HTTP\/1\.1 204 /, complaints);
  });
}
