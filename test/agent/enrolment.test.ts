import test, { type ExecutionContext } from "ava";
import { type Ipv4Address, instant } from "#protocol/brand.ts";
import { exampleJob, exampleTask } from "../store/contract.ts";
import { type Answer, enrolBody, macA, macB, newKey, startServer } from "./agent-peer.ts";

function isRefused(t: ExecutionContext, answer: Answer): void {
  t.is(answer.status, 403, JSON.stringify(answer.body));
  t.is((answer.body as { type: string }).type, "/problems/enrolment-refused");
}

test("I80: a token used twice is refused, its node held, an alarm raised", async (t) => {
  const { call, knownNode, windows, nodes, heard, store } = await startServer(t);
  const { id } = knownNode(macA);
  windows.open(macA, "power-on");
  const token = windows.tokenFor(macA);
  t.is((await call("/enrol", { body: enrolBody(macA, token) })).status, 200);
  const before = nodes.get(id)?.certificate;
  isRefused(t, await call("/enrol", { body: enrolBody(macA, token) }));
  t.true(nodes.get(id)?.quarantined);
  t.is(nodes.get(id)?.certificate, before);
  t.true(heard.some((event) => event.topic === "alarm"));
  t.is(store.audit.list({ limit: 1 })[0]?.what, "enrolment refused");
});

test("a node whose answer was lost may ask again with the same key", async (t) => {
  const { call, knownNode, windows, nodes } = await startServer(t);
  const { id } = knownNode(macA);
  windows.open(macA, "power-on");
  const body = enrolBody(macA, windows.tokenFor(macA));
  await call("/enrol", { body });
  t.is((await call("/enrol", { body })).status, 200);
  t.false(nodes.get(id)?.quarantined);
});

test("I80: a late token is refused and its node held", async (t) => {
  const { call, knownNode, windows, nodes, clock } = await startServer(t);
  const { id } = knownNode(macA);
  windows.open(macA, "power-on");
  const token = windows.tokenFor(macA);
  clock.advance(600_000);
  isRefused(t, await call("/enrol", { body: enrolBody(macA, token) }));
  t.true(nodes.get(id)?.quarantined);
});

test("I80: another MAC address with the token is refused; the token's node is held", async (t) => {
  const { call, knownNode, windows, nodes } = await startServer(t);
  const owner = knownNode(macA);
  const thief = knownNode(macB);
  windows.open(macA, "power-on");
  isRefused(t, await call("/enrol", { body: enrolBody(macB, windows.tokenFor(macA)) }));
  t.true(nodes.get(owner.id)?.quarantined);
  t.is(nodes.get(thief.id)?.certificate, undefined);
});

test("I80: a token from another address than the node's is refused, its node held", async (t) => {
  const { call, knownNode, windows, nodes, store } = await startServer(t);
  const { id } = knownNode(macA);
  store.reservations.put({ mac: macA, address: "10.77.0.9" as Ipv4Address, createdAt: instant(1) });
  windows.open(macA, "power-on");
  isRefused(t, await call("/enrol", { body: enrolBody(macA, windows.tokenFor(macA)) }));
  t.true(nodes.get(id)?.quarantined);
});

test("a stranger's request in a node's name, without its token, holds nobody", async (t) => {
  const { call, knownNode, nodes, store } = await startServer(t);
  const { id } = knownNode(macA);
  store.reservations.put({ mac: macA, address: "10.77.0.9" as Ipv4Address, createdAt: instant(1) });
  const { token, ...without } = enrolBody(macA, "e".repeat(32));
  isRefused(t, await call("/enrol", { body: { ...without, token } }));
  isRefused(t, await call("/enrol", { body: without }));
  t.false(nodes.get(id)?.quarantined);
});

test("a guess is refused with an alarm, and holds nobody", async (t) => {
  const { call, knownNode, windows, nodes, heard } = await startServer(t);
  const { id } = knownNode(macA);
  windows.open(macA, "power-on");
  isRefused(t, await call("/enrol", { body: enrolBody(macA, "f".repeat(32)) }));
  t.false(nodes.get(id)?.quarantined);
  t.true(heard.some((event) => event.topic === "alarm"));
});

test("another board in a node's place is held: its serial contradicts the record", async (t) => {
  const { call, enrolled, windows, nodes } = await startServer(t);
  const { node } = await enrolled(macA);
  windows.open(macA, "power-on");
  const body = enrolBody(macA, windows.tokenFor(macA));
  const swapped = { ...body, hardware: { ...body.hardware, serial: "S2" } };
  isRefused(t, await call("/enrol", { body: swapped }));
  t.true(nodes.get(node.id)?.quarantined);
});

test("a node held back is refused even with a good token, until an admin approves it", async (t) => {
  const { call, knownNode, windows, nodes } = await startServer(t);
  const { id } = knownNode(macA);
  nodes.quarantine(id, "two uses of one token");
  windows.open(macA, "power-on");
  const token = windows.tokenFor(macA);
  isRefused(t, await call("/enrol", { body: enrolBody(macA, token) }));
  nodes.approve(id);
  t.is((await call("/enrol", { body: enrolBody(macA, token) })).status, 200);
});

test("without a token a node waits for an admin, and is not held", async (t) => {
  const { call, knownNode, windows, nodes } = await startServer(t);
  const { id } = knownNode(macA);
  isRefused(t, await call("/enrol", { body: enrolBody(macA, undefined) }));
  t.false(nodes.get(id)?.quarantined);
  windows.approve(macA);
  const body = enrolBody(macA, undefined);
  t.is((await call("/enrol", { body })).status, 200);
  t.is((await call("/enrol", { body })).status, 200); // its answer may have been lost
  isRefused(t, await call("/enrol", { body: enrolBody(macA, undefined) }));
});

for (const [title, state, alarms] of [
  ["an admin is asked to approve a key without a token", undefined, 1],
  ["an admin is asked even while a task waits for the node", "queued", 1],
  ["nobody is asked while a task is at work, which goes on after a power cut", "running", 0],
] as const) {
  test(title, async (t) => {
    const { call, knownNode, nodes, heard, store } = await startServer(t);
    const { id } = knownNode(macA);
    store.jobs.put(exampleJob("job_1"));
    if (state) store.tasks.put(exampleTask("task_1", state, id));
    isRefused(t, await call("/enrol", { body: enrolBody(macA, undefined) }));
    t.is(heard.filter(({ topic }) => topic === "alarm").length, alarms);
    t.is(nodes.get(id)?.asks?.length, 1, "listed in any case");
  });
}

test("a key that is refused uses up no token", async (t) => {
  const { call, knownNode, windows } = await startServer(t);
  knownNode(macA);
  windows.open(macA, "power-on");
  const token = windows.tokenFor(macA);
  const body = { ...enrolBody(macA, token), publicKey: "hello" };
  t.is((await call("/enrol", { body })).status, 400);
  t.is((await call("/enrol", { body: enrolBody(macA, token, newKey()) })).status, 200);
});

test("an address that enrols too often is told to wait", async (t) => {
  const { call, knownNode, clock } = await startServer(t);
  knownNode(macA);
  for (let count = 0; count < 10; count++)
    await call("/enrol", { body: enrolBody(macA, "f".repeat(32)) });
  t.is((await call("/enrol", { body: enrolBody(macA, undefined) })).status, 429);
  clock.advance(2000);
  t.is((await call("/enrol", { body: enrolBody(macA, undefined) })).status, 403);
});

test("C34: neither token nor key is in any event or audit row", async (t) => {
  const { call, knownNode, windows, heard, store } = await startServer(t);
  knownNode(macA);
  windows.open(macA, "power-on");
  const token = windows.tokenFor(macA) ?? "";
  await call("/enrol", { body: enrolBody(macB, token) });
  const told = JSON.stringify([heard, store.audit.list({ limit: 100 })]);
  t.false(told.includes(token));
});
