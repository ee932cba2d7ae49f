import test, { type ExecutionContext } from "ava";
import { makeNode, startTestServer, type TestServer, tokens } from "./support.ts";

interface Result {
  readonly slot: { readonly stack: string; readonly slot: string };
  readonly ok: boolean;
  readonly jobId?: string;
  readonly reason?: string;
}

/** Stack a has one outlet for its four slots, b and c one for each; the nodes of b have no running system. */
async function bench(t: ExecutionContext) {
  const server = await startTestServer();
  t.teardown(server.close);
  const rack = server.store.racks.get("lab");
  const outlet = { driver: "manual", settings: {} };
  const stacks = (rack?.stacks ?? []).map((stack) =>
    stack.name === "a"
      ? { ...stack, outlet, slots: stack.slots.map(({ outlet: _, ...slot }) => slot) }
      : stack,
  );
  server.store.racks.put({ name: "lab", stacks });
  for (const slot of ["1", "2", "3", "4"]) {
    server.store.nodes.put({ ...makeNode("b", slot), connection: "offline" });
    up(server, "a", slot);
  }
  return server;
}

function up(server: TestServer, stack: string, slot: string, quarantined = false): void {
  const node = makeNode(stack, slot);
  const { createdAt: since, address } = node;
  const agent = { role: "resident", version: "1", bootId: "b", hostname: node.name } as const;
  const told = { ...agent, address: address ?? "", since, lastSeen: since };
  server.store.nodes.put({
    ...node,
    connection: "online",
    quarantined,
    agent: told,
  } as typeof node);
}

async function order(server: TestServer, body: object) {
  const response = await server.fetch("/api/v1/power", {
    method: "POST",
    token: tokens.operator,
    body: JSON.stringify(body),
  });
  const { items } = (await response.json()) as { items: readonly Result[] };
  return items.map(({ slot, ok, jobId, reason }) =>
    [`${slot.stack}/${slot.slot}`, ok ? (jobId ?? "done") : reason].join(" "),
  );
}

test("a system that runs is shut down first, by one job for all; what does not run is cut at once", async (t) => {
  const server = await bench(t);
  up(server, "b", "1");
  const done = await order(server, {
    selector: "stack:lab/a,lab-b-1,lab-b-2",
    state: "off",
    warnSeconds: 30,
  });
  t.deepEqual(done, ["a/1 job_1", "a/2 job_1", "a/3 job_1", "a/4 job_1", "b/1 job_1", "b/2 done"]);
  t.deepEqual(server.calls, ["create shutdown 5", "cut lab/b/2"]);
  const [job] = server.store.jobs.list({ limit: 1 });
  t.like(job, {
    kind: "shutdown",
    parameters: { warnSeconds: 30, outlet: "off" },
    createdBy: "operator",
  });
  const [row] = server.store.audit.list({ limit: 1 });
  t.like(row, { who: "operator", what: "power off", detail: "after shutdown, job job_1" });
});

test("by force the power is cut at once, once for each outlet", async (t) => {
  const server = await bench(t);
  const done = await order(server, { selector: "stack:lab/a", state: "cycle", force: true });
  t.deepEqual(done, ["a/1 done", "a/2 done", "a/3 done", "a/4 done"]);
  t.deepEqual(server.calls, ["cut lab/a/1, on again"]);
});

test("a stack waits for the one system that still runs on it", async (t) => {
  const server = await bench(t);
  for (const slot of ["1", "2", "3"]) {
    server.store.nodes.put({ ...makeNode("a", slot), connection: "offline" });
  }
  const done = await order(server, { selector: "stack:lab/a", state: "off" });
  t.deepEqual(done, ["a/1 job_1", "a/2 job_1", "a/3 job_1", "a/4 job_1"]);
  t.deepEqual(server.calls, ["create shutdown 1"]);
});

test("a part of a stack that shares its outlet is not cut, not even by force", async (t) => {
  const server = await bench(t);
  for (const force of [false, true]) {
    const done = await order(server, { selector: "lab-a-1,lab-b-1", state: "off", force });
    const why = "slot lab/a/1 shares its outlet with 3 others: choose the whole stack";
    t.deepEqual(done, [`a/1 ${why}`, "b/1 done"]);
  }
  t.deepEqual(server.calls, ["cut lab/b/1", "cut lab/b/1"]);
});

test("a node that is held back is not asked, and a slot may be named without a node", async (t) => {
  const server = await bench(t);
  up(server, "b", "1", true);
  t.deepEqual(await order(server, { selector: "lab-b-1", state: "off" }), ["b/1 done"]);
  const slot = { rack: "lab", stack: "c", slot: "2" };
  t.deepEqual(await order(server, { slot, state: "on" }), ["c/2 done"]);
  t.deepEqual(server.calls, ["cut lab/b/1", "power lab/c/2 on by operator"]);
});

test("outlets are switched and asked before their nodes are known", async (t) => {
  const server = await bench(t);
  t.deepEqual(await order(server, { selector: "stack:lab/c,slot:lab/c/1", state: "off" }), [
    "c/1 done",
    "c/2 done",
    "c/3 done",
    "c/4 done",
  ]);
  const asked = await server.fetch("/api/v1/power?selector=slot:lab/c/1", { token: tokens.viewer });
  t.deepEqual(await asked.json(), {
    items: [{ slot: { rack: "lab", stack: "c", slot: "1" }, ok: true, state: "on" }],
  });
  const wrong = await server.fetch("/api/v1/power?selector=slot:lab/c/9", { token: tokens.viewer });
  t.is(wrong.status, 400);
});
