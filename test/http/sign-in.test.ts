import { statSync } from "node:fs";
import test from "ava";
import type { Problem } from "#protocol/problem.ts";
import { password, startTestServer, tokens } from "./support.ts";

const post = (body: unknown) => ({ method: "POST", body: JSON.stringify(body) });

test("the set-up code works once, and makes an admin", async (t) => {
  const server = await startTestServer({ users: false });
  t.teardown(server.close);
  const form = { code: server.setupCode, name: "anna", password };
  const first = await server.fetch("/api/v1/setup", post(form));
  t.is(first.status, 201);
  const { token } = (await first.json()) as { token: string };
  t.is((await server.fetch("/api/v1/audit", { token })).status, 200);
  t.is((await server.fetch("/api/v1/setup", post(form))).status, 409);
});

test("two tries at once with the right code make one admin", async (t) => {
  const server = await startTestServer({ users: false });
  t.teardown(server.close);
  const form = (name: string) => post({ code: server.setupCode, name, password });
  const answers = await Promise.all(
    ["anna", "eve"].map((name) => server.fetch("/api/v1/setup", form(name))),
  );
  t.deepEqual(answers.map((answer) => answer.status).toSorted(), [201, 409]);
  t.is(server.store.users.list().length, 1);
});

test("a server with users has no set-up code, and two new ones have none in common", async (t) => {
  const [old, one, two] = await Promise.all([
    startTestServer(),
    startTestServer({ users: false }),
    startTestServer({ users: false }),
  ]);
  t.teardown(() => Promise.all([old, one, two].map((server) => server.close())));
  t.is(old.setupCode, undefined);
  t.regex(one.setupCode ?? "", /^[2-9A-Z]{4}-[2-9A-Z]{4}-[2-9A-Z]{4}$/);
  t.not(one.setupCode, two.setupCode);
});

test("a short password is refused and the code still works", async (t) => {
  const server = await startTestServer({ users: false });
  t.teardown(server.close);
  const form = { code: server.setupCode, name: "anna", password: "short" };
  const refused = await server.fetch("/api/v1/setup", post(form));
  t.is(refused.status, 400);
  t.is(((await refused.json()) as Problem).errors?.[0]?.pointer, "/password");
  t.is((await server.fetch("/api/v1/setup", post({ ...form, password }))).status, 201);
});

test("signing in gives a cookie out of reach of scripts, and a token", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const answer = await server.fetch("/api/v1/sessions", post({ name: "viewer", password }));
  t.is(answer.status, 201);
  const cookie = answer.headers.get("Set-Cookie") ?? "";
  t.regex(cookie, /; httponly/i);
  t.regex(cookie, /; samesite=strict/i);
  const pair = cookie.split(";", 1)[0] ?? "";
  t.is((await server.fetch("/api/v1/nodes", { headers: { Cookie: pair } })).status, 200);
  const { token } = (await answer.json()) as { token: string };
  t.is((await server.fetch("/api/v1/sessions/current", { method: "DELETE", token })).status, 204);
  t.is((await server.fetch("/api/v1/nodes", { headers: { Cookie: pair } })).status, 401);
});

test("guesses are throttled, whether the name exists or not, and time heals", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const tries = async (name: string, count: number) => {
    const found: number[] = [];
    for (let index = 0; index < count; index++) {
      const form = post({ name, password: "guess" });
      found.push((await server.fetch("/api/v1/sessions", form)).status);
    }
    return found;
  };
  t.deepEqual(await tries("admin", 7), [401, 401, 401, 401, 401, 429, 429]);
  t.deepEqual(await tries("nobody", 7), [401, 401, 401, 401, 401, 429, 429]);
  const right = post({ name: "admin", password });
  t.is((await server.fetch("/api/v1/sessions", right)).status, 429);
  server.clock.move(60_000);
  t.is((await server.fetch("/api/v1/sessions", right)).status, 201);
});

const foreign = [
  ["a foreign origin", { Origin: "https://evil.example" }],
  ["an opaque origin", { Origin: "null" }],
  ["another port of this machine", { Origin: "http://127.0.0.1:1" }],
  ["a request another site made", { "Sec-Fetch-Site": "cross-site" }],
] as const;
for (const [title, headers] of foreign) {
  test(`${title} cannot change anything`, async (t) => {
    const server = await startTestServer();
    t.teardown(server.close);
    const body = JSON.stringify({ kind: "reboot", selector: "all" });
    const request = { method: "POST", token: tokens.admin, body, headers };
    t.is((await server.fetch("/api/v1/jobs", request)).status, 403);
    t.deepEqual(server.calls, []);
  });
}

test("a form of another site, which cannot send JSON, is refused", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const answer = await server.fetch("/api/v1/jobs", {
    method: "POST",
    token: tokens.admin,
    body: JSON.stringify({ kind: "reboot", selector: "all" }),
    headers: { "Content-Type": "text/plain" },
  });
  t.is(answer.status, 400);
});

test("the socket is for its owner only, and still wants a credential", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  t.is(statSync(server.socketPath).mode & 0o777, 0o600);
});

test("neither passwords nor tokens are kept as they are", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  t.false(JSON.stringify(server.store.users.list()).includes(password));
  t.is(server.store.apiTokens.get(tokens.admin), undefined);
});
