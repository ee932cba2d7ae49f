/** Beats and calls between the real two sides, over loopback. */

import { createHmac } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import test, { type ExecutionContext } from "ava";
import type { Assignment } from "#protocol/agent.ts";
import type { Ipv4Address, NodeId, TaskId } from "#protocol/brand.ts";
import {
  type Answer,
  type Beat,
  decodeAnswer,
  encodeBeat,
  type HeartbeatOffer,
  macOctets,
  wants,
} from "#protocol/heartbeat.ts";
import type { NodeLoad } from "#protocol/load.ts";
import { startHeartbeat } from "../../netinst/heartbeat.ts";
import { startHeartbeats } from "../../server/agent/heartbeat.ts";
import { systemClock } from "../../server/clock.ts";
import { silentLog } from "../../server/log.ts";
import { checkInBody, loadBody, loopback, macA, startServer } from "./agent-peer.ts";

type Server = Awaited<ReturnType<typeof startServer>>;

/** Less than AVA has. */
const patience = AbortSignal.timeout(100_000);

/** The node after its check-in. */
async function checkedIn(server: Server, change: object = {}) {
  const { node, credential } = await server.enrolled(macA);
  const checkIn = async () => {
    const { body } = await server.call("/check-in", {
      credential,
      body: { ...checkInBody, ...change },
    });
    return (body as { heartbeat: HeartbeatOffer }).heartbeat;
  };
  return { id: node.id, offer: await checkIn(), checkIn };
}

/** A node's socket that says exactly what it is told. */
async function openNode(t: ExecutionContext, id: string, offer: HeartbeatOffer, host = loopback) {
  const socket = createSocket("udp4");
  socket.bind(0, host);
  await once(socket, "listening");
  t.teardown(() => void socket.close());
  const key = Buffer.from(offer.key, "base64");
  const mac = (octets: Uint8Array) =>
    createHmac("sha256", key).update(octets).digest().subarray(0, macOctets);
  const answers: Answer[] = [];
  let arrived = Promise.withResolvers<void>();
  socket.on("message", (octets) => {
    const answer = decodeAnswer(octets);
    if (answer?.isGenuine(mac)) answers.push(answer.message);
    arrived.resolve();
    arrived = Promise.withResolvers();
  });
  const send = (octets: Uint8Array) => socket.send(octets, offer.port, loopback);
  return {
    send,
    beat: (change: Partial<Beat> = {}) => {
      const beat = { counter: 1, round: offer.round, nodeId: id, having: "", ...change };
      const octets = encodeBeat(beat, mac);
      send(octets);
      return octets;
    },
    /** The answer number `count`, from 1. */
    async answer(count: number): Promise<Answer | undefined> {
      while (answers.length < count) await arrived.promise;
      return answers[count - 1];
    },
    /** The first answer to that beat. */
    async answerTo(counter: number): Promise<Answer | undefined> {
      for (;;) {
        const found = answers.find((one) => one.counter === counter);
        if (found) return found;
        await arrived.promise;
      }
    },
    answers,
  };
}

const order = (nodeId: NodeId): Assignment => ({
  ...{ nodeId, taskId: "task_1" as TaskId, epoch: 1 },
  ...{ action: "reboot", warnSeconds: 0 },
});
const onWatched = () => undefined;
const nameOfOrder = "task_1:1:reboot";

test("a genuine beat keeps the node online and is answered", async (t) => {
  const server = await startServer(t);
  const { id, offer } = await checkedIn(server);
  server.clock.advance(60_000);
  server.nodes.markOffline();
  t.is(server.nodes.get(id)?.connection, "offline");
  const node = await openNode(t, id, offer);
  node.beat();
  t.deepEqual(await node.answer(1), { counter: 1, round: offer.round, serial: 1, wants: 0 });
  t.is(server.nodes.get(id)?.connection, "online");
  t.is(server.nodes.get(id)?.agent?.lastSeen, server.clock.now());
});

test("a beat seen before, of another round, key or node counts for nothing", async (t) => {
  const server = await startServer(t);
  const { id, offer } = await checkedIn(server);
  const node = await openNode(t, id, offer);
  const first = node.beat({ counter: 5 });
  await node.answer(1);
  server.clock.advance(60_000);
  server.nodes.markOffline();
  const stranger = await openNode(t, id, { ...offer, key: Buffer.alloc(32).toString("base64") });
  node.send(first);
  node.beat({ counter: 4 });
  stranger.beat({ counter: 99 });
  node.beat({ counter: 99, nodeId: "node_of_nobody" });
  node.send(Buffer.from("MBB1 and something else"));
  node.beat({ counter: 6, round: "0".repeat(32) });
  // Only the last is answered, with the round that counts.
  t.like(await node.answer(2), { counter: 6, round: offer.round, wants: 0 });
  t.is(server.nodes.get(id)?.connection, "offline");
  t.is(stranger.answers.length, 0);
});

test("a node is called for an assignment until its beat names it", async (t) => {
  const server = await startServer(t);
  const { id, offer } = await checkedIn(server);
  const node = await openNode(t, id, offer);
  node.beat();
  t.like(await node.answer(1), { wants: 0 });
  server.orders.set(id, order(id));
  t.like(await node.answer(2), { counter: 1, wants: wants.assignment });
  t.like(await node.answer(3), { counter: 1, wants: wants.assignment }, "the first may be lost");
  node.beat({ counter: 2, having: nameOfOrder });
  t.like(await node.answerTo(2), { wants: 0 });
});

test("a beat is told of an assignment whose calls were all lost", async (t) => {
  const server = await startServer(t);
  const { id, offer } = await checkedIn(server);
  server.orders.set(id, order(id)); // nobody knows yet where to call
  const node = await openNode(t, id, offer);
  node.beat();
  t.like(await node.answer(1), { wants: wants.assignment });
});

test("a node that is held back is not called", async (t) => {
  const server = await startServer(t);
  const { id, offer } = await checkedIn(server);
  server.orders.set(id, order(id));
  server.nodes.quarantine(id, "for the test");
  const node = await openNode(t, id, offer);
  node.beat();
  t.like(await node.answer(1), { wants: 0 });
});

test("a node that somebody looks at is told so until its load comes", async (t) => {
  const server = await startServer(t);
  const { id, offer } = await checkedIn(server);
  const node = await openNode(t, id, offer);
  node.beat();
  t.like(await node.answer(1), { wants: 0 });
  const stop = server.watching.follow(id, () => undefined);
  t.like(await node.answer(2), { wants: wants.load });
  server.watching.tell(id, loadBody);
  node.beat({ counter: 2 });
  t.like(await node.answerTo(2), { wants: 0 });
  server.clock.advance(5000);
  node.beat({ counter: 3 });
  t.like(await node.answerTo(3), { wants: wants.load }, "it has fallen silent");
  stop();
  node.beat({ counter: 4 });
  t.like(await node.answerTo(4), { wants: 0 });
});

test("a node tells its load by its own certificate, and is told whether anybody looks", async (t) => {
  const server = await startServer(t);
  const { node, credential } = await server.enrolled(macA);
  const call = () => server.call("/load", { credential, body: loadBody });
  t.deepEqual((await call()).body, { isWatched: false });
  const told: NodeLoad[] = [];
  server.watching.follow(node.id, (one) => told.push(one));
  t.deepEqual((await call()).body, { isWatched: true });
  t.deepEqual(told, [loadBody]);
  const wrong = await server.call("/load", { credential, body: { ...loadBody, cpuPercent: 101 } });
  t.is(wrong.status, 400);
});

test("a beat from another address asks for a check-in", async (t) => {
  const server = await startServer(t);
  const { id, offer } = await checkedIn(server);
  const node = await openNode(t, id, offer, "127.0.0.2" as Ipv4Address);
  node.beat();
  t.like(await node.answer(1), { wants: wants.checkIn });
});

for (const [title, change] of [
  ["of an earlier boot", { agent: undefined }],
  ["whose certificate was taken away", { certificate: undefined }],
] as const) {
  test(`a node ${title} is not answered`, async (t) => {
    const server = await startServer(t);
    const { id, offer } = await checkedIn(server);
    server.nodes.update(id, change);
    const node = await openNode(t, id, offer);
    node.beat();
    const { offer: later } = await checkedIn(server, { bootId: "the-next" });
    const again = await openNode(t, id, later);
    node.beat({ counter: 2 });
    again.beat();
    await again.answer(1);
    t.is(node.answers.length, 0);
  });
}

test("a server that starts again knows the beats, but not those recorded before", async (t) => {
  const server = await startServer(t);
  const { id, offer } = await checkedIn(server);
  await server.listener.close();
  const { site, nodes, jobs, store, watching } = server;
  const restarted = await startHeartbeats({
    ...{ config: { agentPort: 0 }, address: loopback, site, nodes, jobs, store, watching },
    ...{ clock: systemClock, log: silentLog },
  });
  t.teardown(() => restarted.close());
  const node = await openNode(t, id, { ...offer, port: restarted.port });
  node.beat({ counter: 41 });
  const renewed = await node.answer(1);
  t.not(renewed?.round, offer.round);
  node.beat({ counter: 42, round: renewed?.round ?? "" });
  t.like(await node.answer(2), { counter: 42, round: renewed?.round });
});

test("an agent is heard, is called, and goes on through a restart of the server", async (t) => {
  const server = await startServer(t);
  const { id, offer } = await checkedIn(server);
  let having: string | undefined;
  const heard = Promise.withResolvers<void>();
  using agent = startHeartbeat(
    { host: loopback, nodeId: id, having: () => having, onHeard: heard.resolve, onWatched },
    offer,
  );
  await heard.promise;
  t.true(agent.isHeard);
  server.orders.set(id, order(id));
  t.true(await agent.called(100_000, patience));
  having = nameOfOrder;
  await server.listener.close();
  const { site, nodes, jobs, store, watching } = server;
  const restarted = await startHeartbeats({
    ...{ config: { agentPort: offer.port }, address: loopback, site, nodes, jobs, store, watching },
    ...{ clock: systemClock, log: silentLog },
  });
  t.teardown(() => restarted.close());
  agent.beat();
  server.orders.set(id, { ...order(id), epoch: 2 });
  t.true(await agent.called(100_000, patience));
});

test("an agent whose check-in is wanted is told once, and goes on with what it was offered", async (t) => {
  const server = await startServer(t);
  const { id, offer, checkIn } = await checkedIn(server);
  server.nodes.update(id, { address: "10.9.9.9" as Ipv4Address });
  using agent = startHeartbeat(
    { host: loopback, nodeId: id, having: () => undefined, onHeard: () => undefined, onWatched },
    offer,
  );
  // On a busy machine it may first be told that nobody answered for a second.
  while (!agent.mustCheckIn) t.false(await agent.called(100_000, patience), "this is no call");
  agent.renew(await checkIn());
  t.false(agent.mustCheckIn);
  server.orders.set(id, order(id));
  t.true(await agent.called(100_000, patience));
});

test("an agent that nobody answers says so", async (t) => {
  const silent = createSocket("udp4");
  silent.bind(0, loopback);
  await once(silent, "listening");
  t.teardown(() => void silent.close());
  const offer = { port: silent.address().port, key: "", round: "0".repeat(32), seconds: 15 };
  using agent = startHeartbeat(
    {
      host: loopback,
      nodeId: "node_1",
      having: () => undefined,
      onHeard: () => undefined,
      onWatched,
    },
    offer,
  );
  await once(silent, "message");
  t.false(await agent.called(100_000, patience));
  t.false(agent.isHeard);
});
