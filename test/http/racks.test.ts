import test from "ava";
import { ConflictError } from "../../server/errors.ts";
import { rackRoutes } from "../../server/http/routes/racks.ts";
import { startTestServer, tokens } from "./support.ts";

const yaml = (password: string) =>
  `name: two\nstacks: [{ name: a, slots: 1, outlet: { driver: ipmi, settings: { host: h, user: u, password: ${password} } } }]\n`;

test("a rack is put, read, patched and exported with its ETag, and no answer has its secret", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const ask = async (method: string, path: string, body?: string, ifMatch?: string) => {
    const response = await server.fetch(path, {
      method,
      token: tokens.admin,
      ...(body !== undefined && { body }),
      ...(ifMatch !== undefined && { headers: { "If-Match": ifMatch } }),
    });
    const text = await response.text();
    t.false(text.includes("canary"), path);
    return { status: response.status, text, tag: response.headers.get("ETag") ?? "" };
  };
  const two = "/api/v1/racks/two";
  t.is((await ask("PUT", two, yaml("canary"), "*")).status, 412);
  const made = await ask("PUT", two, yaml("canary"));
  t.is(made.status, 200);
  t.regex(made.tag, /^"[0-9a-f]{16}"$/);
  t.is((await ask("GET", two)).tag, made.tag);
  const moved = await ask("PATCH", two, '{"stacks":{"a":{"x":4}}}', made.tag);
  t.is(moved.status, 200);
  t.not(moved.tag, made.tag);
  const late = await ask("PATCH", two, '{"stacks":{"a":{"x":5}}}', made.tag);
  t.is(late.status, 412);
  t.regex(late.text, /precondition-failed/);
  const exported = await ask("GET", `${two}/file`);
  t.regex(exported.text, /kept: true/);
  t.is((await ask("PUT", two, exported.text, exported.tag)).status, 200);
  const long = await ask("PUT", two, yaml("canary-".repeat(60)));
  t.regex(long.text, /line 2: outlet of driver ipmi: password must not have more than 256/);
  const report = await ask("POST", "/api/v1/rack-checks?outlets=true", exported.text);
  t.deepEqual((JSON.parse(report.text) as { differences: unknown }).differences, []);
  t.regex(report.text, /outlet of stack two\/a \(ipmi\) is off/);
  const settings = { host: "h", user: "u", password: { kept: true } };
  const state = await ask(
    "POST",
    "/api/v1/outlet-queries",
    JSON.stringify({ driver: "ipmi", settings }),
  );
  t.is(state.text, '{"state":"off"}');
});

test("who is no admin sees drivers, and no settings", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  await server.fetch("/api/v1/racks/two", {
    method: "PUT",
    token: tokens.admin,
    body: yaml("canary"),
  });
  for (const path of ["/api/v1/racks/two", "/api/v1/racks", "/api/v1/snapshot"]) {
    const text = await (await server.fetch(path, { token: tokens.operator })).text();
    t.regex(text, /"driver":"ipmi","settings":\{\}/, path);
  }
});

test("a rack that is being learned is not changed under the learning", (t) => {
  const admin = { learning: { status: () => ({ state: "running", rack: "lab" }) } } as never;
  for (const name of ["put-rack", "patch-rack", "delete-rack"]) {
    const row = rackRoutes.find((one) => one.name === name);
    t.throws(() => row?.handler({ params: { name: "lab" } } as never, admin), {
      instanceOf: ConflictError,
      message: /rack lab is being learned: wait, or learn cancel/,
    });
  }
});
