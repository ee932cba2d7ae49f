import test, { type ExecutionContext } from "ava";
import type { Node } from "#protocol/node.ts";
import type { Rule, RuleTrial } from "#protocol/rule.ts";
import { run } from "../cli/support.ts";
import { makeNode, startTestServer, type TestServer, tokens } from "./support.ts";

async function start(t: ExecutionContext) {
  const server = await startTestServer();
  t.teardown(() => server.close());
  const send = async (
    method: string,
    path: string,
    body?: unknown,
    token: string = tokens.admin,
  ) => {
    const answer = await server.fetch(path, {
      method,
      token,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return { status: answer.status, body: text === "" ? undefined : (JSON.parse(text) as unknown) };
  };
  const command = (...words: string[]) => run(words, server, { token: tokens.admin });
  return { server, send, command };
}

const usual: Rule = { name: "usual", match: { places: ["lab/a"] }, image: "debian-12" };

test("rules are added in order, listed with where they come from, tried on a node, and removed", async (t) => {
  const { server, send } = await start(t);
  t.is((await send("POST", "/api/v1/rules", { rule: usual })).status, 201);
  const big = { name: "big", match: { minMemoryMiB: 4096 } };
  t.is((await send("POST", "/api/v1/rules", { rule: big, before: "usual" })).status, 201);
  t.like((await send("GET", "/api/v1/rules")).body, {
    items: [
      { ...big, origin: "server" },
      { ...usual, origin: "server" },
    ],
  });
  t.deepEqual((await send("GET", "/api/v1/nodes/lab-a-1/rules")).body, {
    verdicts: [
      { name: "big", origin: "server", why: ["it has 1024 MiB of memory, less than 4096"] },
      { name: "usual", origin: "server", why: [] },
    ],
    text: "rule usual matches, but nothing is installed: what is on disk vda is not known",
  } satisfies RuleTrial);
  t.is((await send("DELETE", "/api/v1/rules/big")).status, 204);
  t.is((await send("DELETE", "/api/v1/rules/big")).status, 404);
  t.deepEqual(server.store.rules.list(), [usual]);
  t.deepEqual(server.calls, []);
});

test("a rule that is wrong is refused with the member that is", async (t) => {
  const { send } = await start(t);
  const rule = { ...usual, match: { minMemoryMiB: "much" } };
  const { status, body } = await send("POST", "/api/v1/rules", { rule });
  t.is(status, 400);
  t.like(body, { errors: [{ pointer: "/rule/match/minMemoryMiB" }] });
});

test("only an admin adds and removes rules, and ends a protection", async (t) => {
  const { send } = await start(t);
  const refused: readonly (readonly [string, string, unknown?])[] = [
    ["POST", "/api/v1/rules", { rule: usual }],
    ["DELETE", "/api/v1/rules/usual"],
    ["DELETE", "/api/v1/nodes/lab-a-1/protection"],
    ["DELETE", "/api/v1/protected-disks/S1"],
  ];
  for (const [method, path, body] of refused) {
    t.is((await send(method, path, body, tokens.operator)).status, 403, path);
  }
});

/** Gives lab-a-1 two disks with serial numbers. */
function withDisks({ store }: TestServer): void {
  const node = makeNode("a", "1");
  if (!node.hardware) throw new Error("it has hardware");
  const disks = ["D1", "D2"].map((serial, index) => ({
    name: index === 0 ? "sda" : "sdb",
    sizeBytes: 480e9,
    serial,
    removable: false,
  }));
  store.nodes.put({ ...node, hardware: { ...node.hardware, disks } });
}

test("an install of a protected node or onto a protected disk is refused with who and why", async (t) => {
  const { server, send } = await start(t);
  withDisks(server);
  const refusal = async (disk: string) => {
    const parameters = { image: "debian-12", disk };
    const body = { kind: "install", selector: "lab-a-1", parameters, dryRun: true };
    const plan = (await send("POST", "/api/v1/jobs", body)).body as {
      nodes: readonly { refused?: string }[];
    };
    return plan.nodes[0]?.refused;
  };
  t.is(await refusal("sdb"), undefined);
  await send("PUT", "/api/v1/protected-disks/D2", { reason: "customer data" }, tokens.operator);
  t.is(await refusal("sda"), undefined);
  t.is(await refusal("sdb"), "disk sdb of lab-a-1 is protected by operator: customer data");
  t.like((await send("GET", "/api/v1/protected-disks")).body, { items: [{ serial: "D2" }] });
  await send("PUT", "/api/v1/nodes/lab-a-1/protection", { reason: "archive" });
  t.is(await refusal("sda"), "lab-a-1 is protected by admin: archive");
  t.is((await send("DELETE", "/api/v1/nodes/lab-a-1/protection")).status, 200);
  t.is((await send("DELETE", "/api/v1/protected-disks/D2")).status, 204);
  t.is((await send("DELETE", "/api/v1/protected-disks/D2")).status, 404);
  t.is(await refusal("sdb"), undefined);
});

test("a burn-in that writes says which earlier install is lost, and nothing of somebody's data", async (t) => {
  const { server, send } = await start(t);
  const node = makeNode("a", "1");
  if (!node.hardware) return t.fail();
  const contents = { kind: "known", text: "GPT with 1 partition: ext" } as const;
  const disk = { name: "sda", sizeBytes: 480e9, removable: false };
  const disks = [
    { ...disk, serial: "D1", contents: { ...contents, id: "gpt:1" } },
    { ...disk, name: "sdb", serial: "D2", contents: { ...contents, id: "gpt:2" } },
    { ...disk, name: "sdc", contents: { kind: "blank", text: "nothing" } as const },
  ];
  const installedDisk = { name: "sda", serial: "D1", contentsId: "gpt:1" };
  server.store.nodes.put({ ...node, installedDisk, hardware: { ...node.hardware, disks } });
  const losses = async (parameters: object) => {
    const body = { kind: "burn-in", selector: "lab-a-1", parameters, dryRun: true };
    return (await send("POST", "/api/v1/jobs", body)).body;
  };
  t.like(await losses({ writeDisks: true }), {
    nodes: [{ loses: "GPT with 1 partition: ext on sda", does: "test the hardware for 600 s" }],
  });
  const reading = (await losses({})) as { nodes: readonly object[] };
  t.false("loses" in (reading.nodes[0] ?? {}));
});

test("a node is tagged and renamed in one call, and keeps what is not named", async (t) => {
  const { send } = await start(t);
  await send("PATCH", "/api/v1/nodes/lab-a-1", { tags: ["ssd", "db"] });
  const { body } = await send("PATCH", "/api/v1/nodes/lab-a-1", { name: "db-1" });
  t.deepEqual((body as Node).tags, ["db", "ssd"]);
  const bare = await send("PATCH", "/api/v1/nodes/db-1", { tags: [] });
  t.is((bare.body as Node).tags, undefined);
  t.is((await send("PATCH", "/api/v1/nodes/db-1", { tags: ["a b"] })).status, 400);
});

test("the command line adds, tries and removes rules", async (t) => {
  const { server, command } = await start(t);
  const added = await command(
    "rule",
    "add",
    "usual",
    "--place",
    "lab/a",
    "--place",
    "lab/b",
    "--tag",
    "db",
    "--image",
    "debian-12",
    "--burn-in",
    "60",
  );
  t.is(added.code, 0, added.err);
  t.is(added.out, "rule usual: in lab/a or lab/b, tag db: test for 60 s, install debian-12\n");
  t.deepEqual(server.store.rules.list(), [
    {
      name: "usual",
      match: { places: ["lab/a", "lab/b"], tags: ["db"] },
      image: "debian-12",
      burnInSeconds: 60,
    },
  ]);
  t.is(
    (await command("rule", "list")).out,
    "usual\tserver\tin lab/a or lab/b, tag db\ttest for 60 s, install debian-12\n",
  );
  t.is(
    (await command("rule", "test", "lab-a-1")).out,
    "usual (server): it has no tag db\nno rule matches: it is left alone\n",
  );
  const harsh = await command("rule", "add", "harsh", "--image", "debian-12", "--wipe", "any");
  t.is(harsh.code, 2, harsh.err);
  t.regex(harsh.err, /every node: whatever is on the disk of such a node will be lost/);
  t.is((await command("rule", "remove", "usual", "--yes")).code, 0);
  t.is((await command("rule", "remove", "usual", "--yes")).code, 5);
});

test("the command line tags and protects, and shows it", async (t) => {
  const { server, command } = await start(t);
  withDisks(server);
  t.is((await command("node", "tag", "lab-a-1", "ssd,db")).out, "lab-a-1: db, ssd\n");
  t.is((await command("node", "tag", "lab-a-1", "db", "--remove")).out, "lab-a-1: ssd\n");
  t.is((await command("node", "protect", "lab-a-1")).code, 2);
  t.is((await command("node", "protect", "lab-a-1", "--reason", "archive")).code, 0);
  const ran = await command("node", "protect", "lab-a-1", "--disk", "sdb", "--reason", "data");
  t.is(ran.out, "disk sdb (D2) of lab-a-1 is protected\n");
  const { out } = await command("node", "show", "lab-a-1");
  t.regex(out, /^tags +ssd$/m);
  t.regex(out, /^protected +by admin: archive \(.*\)$/m);
  t.regex(out, /^disk +sdb 480\.0 GB, D2, protected by admin: data$/m);
  t.is((await command("node", "release", "lab-a-1")).code, 2);
  t.is((await command("node", "release", "lab-a-1", "--disk", "D2", "--yes")).code, 0);
  t.is((await command("node", "release", "lab-a-1", "--yes")).code, 0);
  t.deepEqual(server.store.protectedDisks.list(), []);
  t.is(server.store.nodes.byName("lab-a-1")?.protection, undefined);
});
