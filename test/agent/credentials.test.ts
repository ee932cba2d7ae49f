/** A node's certificate after its enrolment: its renewal, and every way in which it ends. */

import { once } from "node:events";
import { text } from "node:stream/consumers";
import { connect } from "node:tls";
import test, { type ExecutionContext } from "ava";
import type { EnrolAnswer } from "#protocol/agent.ts";
import { enrolText } from "#protocol/agent.ts";
import type { NodeId } from "#protocol/brand.ts";
import type { Node } from "#protocol/node.ts";
import { pinKey } from "../../netinst/trust.ts";
import { createDoubles } from "../../server/agent/doubles.ts";
import {
  type Answer,
  type Credential,
  checkInBody,
  macA,
  macB,
  newKey,
  startServer,
} from "./agent-peer.ts";

const day = 24 * 3600 * 1000;
const nonce = "0123456789abcdef0123456789abcdef";

type Server = Awaited<ReturnType<typeof startServer>>;

async function oneNode(t: ExecutionContext) {
  const server = await startServer(t);
  const { node, credential } = await server.enrolled(macA);
  const checkIn = (shown: Credential, bootId: string = checkInBody.bootId) =>
    server.call("/check-in", { credential: shown, body: { ...checkInBody, bootId } });
  const renew = async (shown: Credential) => {
    const pair = newKey();
    const body = { publicKey: pair.publicPem, nonce };
    const answer = await server.call("/renew", { credential: shown, body });
    const { certificate } = answer.body as EnrolAnswer;
    return { answer, credential: { key: pair.privatePem, cert: certificate } };
  };
  const now = (): Node => server.nodes.get(node.id) ?? t.fail("the node vanished");
  return { server, id: node.id, credential, checkIn, renew, now };
}

function isRefused(t: ExecutionContext, { status, body }: Answer, reason: RegExp): void {
  t.is(status, 403, JSON.stringify(body));
  t.regex(String((body as { title: string }).title), reason);
}

/** Begins a long poll that the server holds; `cut` resolves when its connection ends without an answer. */
async function heldPoll(server: Server, credential: Credential) {
  const held = Promise.withResolvers<void>();
  Object.assign(server.jobs, {
    waitForAssignment: async (
      _node: NodeId,
      _known: unknown,
      _wait: number,
      signal: AbortSignal,
    ) => {
      held.resolve();
      await once(signal, "abort");
    },
  });
  const answer = server.call("/assignment?wait=30", { credential });
  const cut = answer.then(
    () => "answered",
    (error: NodeJS.ErrnoException) => error.code,
  );
  await held.promise;
  return { cut };
}

for (const [title, end] of [
  ["revoked", ({ nodes }, id) => nodes.revoke(id, "stolen")],
  ["retired", ({ nodes }, id) => nodes.retire(id)],
] as const satisfies readonly (readonly [string, (server: Server, id: NodeId) => unknown])[]) {
  test(`the open connection of a node that is ${title} is cut at once, and it is refused from then on`, async (t) => {
    const { server, id, credential, checkIn } = await oneNode(t);
    const { cut } = await heldPoll(server, credential);
    end(server, id);
    t.is(await cut, "ECONNRESET");
    isRefused(t, await checkIn(credential), /has no certificate any more/);
  });
}

test("a new enrolment cuts the connection of the one before", async (t) => {
  const { server, credential, checkIn } = await oneNode(t);
  const { cut } = await heldPoll(server, credential);
  await server.enrolled(macA);
  t.is(await cut, "ECONNRESET");
  isRefused(t, await checkIn(credential), /was replaced by a newer one/);
});

test("a change of the node that is not of its certificate cuts nothing", async (t) => {
  const { server, id, credential } = await oneNode(t);
  const { cut } = await heldPoll(server, credential);
  const other = await server.enrolled(macB);
  server.nodes.update(id, { power: "unknown" });
  server.nodes.revoke(other.node.id, "another node");
  await server.listener.close();
  t.is(await cut, "answered");
});

test("a revoked node is held back, and its running work gets no more orders", async (t) => {
  const { server, id, now } = await oneNode(t);
  server.nodes.revoke(id, "ada revoked its certificate");
  t.like(now(), {
    quarantined: true,
    connection: "offline",
    reason: "ada revoked its certificate",
  });
  t.is(now().certificate, undefined);
});

test("a resumed TLS session shows the certificate as well, and a revoked one is refused", async (t) => {
  const { server, id, credential } = await oneNode(t);
  let session: Buffer | undefined;
  const ask = async () => {
    const socket = connect({
      ...{ host: "127.0.0.1", port: server.listener.port, ca: server.site.authorityPem },
      ...credential,
      ...(session && { session }),
    });
    socket.on("session", (given) => {
      session = given;
    });
    await once(socket, "secureConnect");
    const isResumed = socket.isSessionReused();
    socket.write(
      "GET /agent/v1/assignment?wait=0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    return `${isResumed ? "resumed" : "full"}: ${(await text(socket)).split("\r\n", 1)[0]}`;
  };
  t.is(await ask(), "full: HTTP/1.1 204 No Content");
  t.is(await ask(), "resumed: HTTP/1.1 204 No Content");
  server.nodes.revoke(id, "stolen");
  t.is(await ask(), "resumed: HTTP/1.1 403 Forbidden");
});

test("a renewed certificate is signed over the nonce, and the one before counts until it is shown", async (t) => {
  const { server, credential, checkIn, renew, now } = await oneNode(t);
  const before = now().certificate;
  const { answer, credential: next } = await renew(credential);
  t.is(answer.status, 200);
  const signed = answer.body as EnrolAnswer;
  t.is(signed.nonce, nonce);
  t.true(pinKey(server.site.serverKey).covers(enrolText(signed), signed.signature));
  t.is((await checkIn(credential)).status, 200);
  t.is(now().certificate, before);
  t.is((await checkIn(next)).status, 200);
  t.is(now().nextCertificate, undefined);
  t.not(now().certificate, before);
  isRefused(t, await checkIn(credential), /was replaced by a newer one: a copy of its disk\?/);
  t.true(server.heard.some((event) => event.topic === "alarm"));
});

test("of two renewals only the last counts: the answer to the first was lost", async (t) => {
  const { credential, checkIn, renew } = await oneNode(t);
  const { credential: lost } = await renew(credential);
  const { credential: next } = await renew(credential);
  isRefused(t, await checkIn(lost), /was replaced/);
  t.is((await checkIn(next)).status, 200);
});

test("an agent is told to renew when a third of the time is left, not before", async (t) => {
  const { server, credential, checkIn } = await oneNode(t);
  const isTold = async () => "renew" in ((await checkIn(credential)).body as object);
  server.clock.advance(60 * day - 1);
  t.false(await isTold());
  server.clock.advance(2);
  t.true(await isTold());
});

test("a certificate of a version without an end is renewed at once", async (t) => {
  const { server, id, credential, checkIn } = await oneNode(t);
  server.nodes.update(id, { certificateUntil: undefined });
  t.true(((await checkIn(credential)).body as { renew?: boolean }).renew);
});

test("a certificate that ended is refused, and nothing but an enrolment brings the node back", async (t) => {
  const { server, credential, checkIn, renew } = await oneNode(t);
  server.clock.advance(90 * day);
  isRefused(t, await checkIn(credential), /certificate of node-dca63200000a ended 2024-02-12/);
  isRefused(t, (await renew(credential)).answer, /ended/);
  t.is((await checkIn((await server.enrolled(macA)).credential)).status, 200);
});

for (const [title, jump] of [
  ["2038, later", 20 * 365 * day],
  ["1970, without a battery", -53 * 365 * day],
] as const) {
  test(`the server's clock jumps to ${title}: a node that called within the hour is not locked out`, async (t) => {
    const { server, credential, checkIn } = await oneNode(t);
    t.is((await checkIn(credential)).status, 200);
    server.clock.jump(jump);
    t.is((await checkIn(credential)).status, 200);
    server.clock.jump(-jump);
    t.is((await checkIn(credential)).status, 200);
  });
}

test("a clock that is put right again makes an ended certificate count as before", async (t) => {
  const { server, credential, checkIn } = await oneNode(t);
  server.clock.jump(20 * 365 * day);
  isRefused(t, await checkIn(credential), /ended/);
  server.clock.jump(-20 * 365 * day);
  t.is((await checkIn(credential)).status, 200);
});

test("a node that renews again and again is told to wait", async (t) => {
  const { credential, renew } = await oneNode(t);
  for (let count = 0; count < 5; count++) await renew(credential);
  t.is((await renew(credential)).answer.status, 429);
});

test("a node that is held back may call, gets no orders, cannot renew, and is told to stop", async (t) => {
  const { server, id, credential, checkIn, renew } = await oneNode(t);
  server.nodes.quarantine(id, "two computers with one MAC address");
  server.orders.set(id, {
    nodeId: id,
    taskId: "task_1" as never,
    epoch: 1,
    action: "reboot",
    warnSeconds: 0,
  });
  t.is((await checkIn(credential)).status, 200);
  t.is((await server.call("/assignment?wait=0", { credential })).status, 204);
  t.is(server.polls.length, 0);
  isRefused(t, (await renew(credential)).answer, /is held back/);
  const report = { taskId: "task_1", epoch: 1, bootId: checkInBody.bootId, status: "running" };
  const body = { ...report, stage: "requested", percent: 1 };
  t.deepEqual((await server.call("/report", { credential, body })).body, { cancelled: true });
  t.is(server.reports.length, 0);
});

test("a node that is held back while it waits gets no order any more", async (t) => {
  const { server, id, credential } = await oneNode(t);
  const order = { nodeId: id, taskId: "task_1" as never, epoch: 1, action: "reboot" } as const;
  Object.assign(server.jobs, {
    waitForAssignment: async () => {
      server.nodes.quarantine(id, "an exchanged board");
      return { ...order, warnSeconds: 0 };
    },
  });
  t.is((await server.call("/assignment?wait=1", { credential })).status, 204);
});

test("two machines with one certificate: the second's boots alternate with the first's, so it is held back", async (t) => {
  const { server, credential, checkIn, now } = await oneNode(t);
  await checkIn(credential, "boot-of-the-node");
  await checkIn(credential, "boot-of-the-copy");
  t.false(now().quarantined);
  await checkIn(credential, "boot-of-the-node");
  t.true(now().quarantined);
  t.regex(now().reason ?? "", /two machines check in with its certificate/);
  t.is(server.heard.filter((event) => event.topic === "alarm").length, 1);
  await checkIn(credential, "boot-of-the-copy");
  t.is(server.heard.filter((event) => event.topic === "alarm").length, 1);
});

for (const [title, boots, expected] of [
  ["one machine that stays up", "aaaa", "...."],
  ["one that is restarted now and then", "aabccd", "......"],
  ["two at a time", "abab", "..!!"],
  ["a copy that wakes up much later", "abcb", "...!"],
] as const) {
  test(`boot ids of ${title}`, (t) => {
    const doubles = createDoubles();
    const seen = [...boots].map((boot) => (doubles.sees("node_1" as NodeId, boot) ? "!" : "."));
    t.is(seen.join(""), expected);
  });
}

test("boots of other nodes are other boots", (t) => {
  const doubles = createDoubles();
  const seen = (["node_1", "node_2"] as NodeId[]).flatMap((id) =>
    ["a", "b"].map((boot) => doubles.sees(id, boot)),
  );
  t.deepEqual(seen, [false, false, false, false]);
});
