/** Accounts beyond the first, and tokens: who may make, change and end them, and what ends with them. */

import test, { type ExecutionContext } from "ava";
import { password, startTestServer, type TestServer, tokens } from "./support.ts";

const day = 24 * 3600 * 1000;
const another = "another long password";

function ask(server: TestServer) {
  return async (method: string, path: string, token: string, body?: unknown) => {
    const response = await server.fetch(`/api/v1${path}`, {
      method,
      token,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const answer = text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
    return { status: response.status, answer };
  };
}

async function start(t: ExecutionContext) {
  const server = await startTestServer();
  t.teardown(server.close);
  const call = ask(server);
  const signIn = async (name: string, secret = password) => {
    const { status, answer } = await call("POST", "/sessions", "", { name, password: secret });
    return { status, token: String(answer["token"]) };
  };
  return { server, call, signIn };
}

test("an admin adds an operator, who signs in and may do what operators may", async (t) => {
  const { call, signIn } = await start(t);
  const bob = { name: "bob", password: another, role: "operator" };
  t.is((await call("POST", "/users", tokens.admin, bob)).status, 201);
  const { token } = await signIn("bob", another);
  t.is((await call("GET", "/sessions/current", token)).answer["role"], "operator");
  t.is((await call("POST", "/users", token, { ...bob, name: "eve" })).status, 403);
});

test("a name that is taken and a short password are refused", async (t) => {
  const { call } = await start(t);
  const bob = { name: "viewer", password: another, role: "operator" };
  t.is((await call("POST", "/users", tokens.admin, bob)).status, 409);
  const short = { ...bob, name: "bob", password: "short" };
  t.is((await call("POST", "/users", tokens.admin, short)).status, 400);
});

test("two additions of one name at once make one user", async (t) => {
  const { server, call } = await start(t);
  const bob = { name: "bob", password: another, role: "viewer" };
  const both = await Promise.all([1, 2].map(() => call("POST", "/users", tokens.admin, bob)));
  t.deepEqual(both.map(({ status }) => status).toSorted(), [201, 409]);
  t.is(server.store.users.list().length, 4);
});

test("a removed user's sessions and tokens end with the account", async (t) => {
  const { server, call, signIn } = await start(t);
  const { token } = await signIn("operator");
  t.is((await call("DELETE", "/users/operator", tokens.admin)).status, 204);
  for (const one of [token, tokens.operator]) t.is((await call("GET", "/nodes", one)).status, 401);
  t.false(server.store.apiTokens.list().some(({ user }) => user === "operator"));
  t.is((await signIn("operator")).status, 401);
});

test("the last admin is neither removed nor lowered", async (t) => {
  const { call } = await start(t);
  t.is((await call("DELETE", "/users/admin", tokens.admin)).status, 409);
  t.is((await call("PATCH", "/users/admin", tokens.admin, { role: "viewer" })).status, 409);
  await call("PATCH", "/users/operator", tokens.admin, { role: "admin" });
  t.is((await call("PATCH", "/users/admin", tokens.admin, { role: "viewer" })).status, 200);
  t.is((await call("DELETE", "/users/viewer", tokens.admin)).status, 403);
  t.is((await call("DELETE", "/users/admin", tokens.operator)).status, 204);
});

test("one's own password takes the present one, and ends one's sessions", async (t) => {
  const { call, signIn } = await start(t);
  const { token } = await signIn("viewer");
  const path = "/users/viewer/password";
  t.is((await call("PUT", path, token, { password: another })).status, 401);
  t.is((await call("PUT", path, token, { password: another, current: "wrong" })).status, 401);
  t.is((await call("PUT", path, token, { password: another, current: password })).status, 204);
  t.is((await call("GET", "/nodes", token)).status, 401);
  t.is((await signIn("viewer")).status, 401);
  t.is((await signIn("viewer", another)).status, 201);
});

test("another user's password is the admin's to change", async (t) => {
  const { call, signIn } = await start(t);
  const path = "/users/viewer/password";
  t.is((await call("PUT", path, tokens.operator, { password: another })).status, 403);
  t.is((await call("PUT", path, tokens.admin, { password: another })).status, 204);
  t.is((await signIn("viewer", another)).status, 201);
});

test("guessing the present password is slowed down like signing in", async (t) => {
  const { call } = await start(t);
  const guess = { password: another, current: "a guess of mine" };
  const statuses: number[] = [];
  for (let count = 0; count < 6; count++) {
    statuses.push((await call("PUT", "/users/viewer/password", tokens.viewer, guess)).status);
  }
  t.deepEqual(statuses, [401, 401, 401, 401, 401, 429]);
});

test("a token does no more than it was made for, and ends by itself", async (t) => {
  const { server, call } = await start(t);
  const form = { name: "grafana", role: "viewer", expiresInDays: 2 };
  const { status, answer } = await call("POST", "/tokens", tokens.operator, form);
  t.is(status, 201);
  const token = String(answer["token"]);
  t.is((await call("GET", "/nodes", token)).status, 200);
  t.is((await call("POST", "/jobs", token, { kind: "reboot", selector: "all" })).status, 403);
  server.clock.move(2 * day);
  t.is((await call("GET", "/nodes", token)).status, 401);
});

test("a user who is lowered has lowered tokens", async (t) => {
  const { call } = await start(t);
  const { answer } = await call("POST", "/tokens", tokens.operator, { name: "ci" });
  await call("PATCH", "/users/operator", tokens.admin, { role: "viewer" });
  const token = String(answer["token"]);
  t.is((await call("POST", "/jobs", token, { kind: "reboot", selector: "all" })).status, 403);
});

test("a token for more than its user, and a token made by a token, are refused", async (t) => {
  const { call } = await start(t);
  const more = { name: "ci", role: "admin" };
  t.is((await call("POST", "/tokens", tokens.operator, more)).status, 403);
  const { answer } = await call("POST", "/tokens", tokens.admin, { name: "ci" });
  const made = await call("POST", "/tokens", String(answer["token"]), { name: "ci2" });
  t.is(made.status, 403);
  const session = { name: "session", role: "viewer" };
  t.is((await call("POST", "/tokens", tokens.viewer, session)).status, 400);
});

test("tokens are listed without what opens the door, one's own only, and ended by their id", async (t) => {
  const { call } = await start(t);
  const { answer } = await call("POST", "/tokens", tokens.operator, { name: "ci" });
  const { id, token } = answer as { id: string; token: string };
  const listOf = async (who: string) =>
    (await call("GET", "/tokens", who)).answer["items"] as { id: string; user: string }[];
  t.deepEqual([...new Set((await listOf(tokens.operator)).map(({ user }) => user))], ["operator"]);
  t.true((await listOf(tokens.admin)).some(({ user }) => user === "viewer"));
  t.false(JSON.stringify(await listOf(tokens.admin)).includes(token));
  t.is((await call("DELETE", `/tokens/${id}`, tokens.viewer)).status, 404);
  t.is((await call("DELETE", `/tokens/${id}`, tokens.operator)).status, 204);
  t.is((await call("GET", "/nodes", token)).status, 401);
});

test("C34: neither password nor token is in any audit row", async (t) => {
  const { server, call } = await start(t);
  await call("POST", "/users", tokens.admin, { name: "bob", password: another, role: "viewer" });
  await call("PUT", "/users/bob/password", tokens.admin, { password: `${another}!` });
  const { answer } = await call("POST", "/tokens", tokens.admin, { name: "ci" });
  const rows = JSON.stringify(server.store.audit.list({ limit: 100 }));
  t.true(rows.includes("bob (viewer)"));
  for (const secret of [another, String(answer["token"])]) t.false(rows.includes(secret));
});
