/**
 * The server dies at every durable change of an enrolment, of a renewal and of an approval, before
 * and after it is on the disk (D37), or the disk refuses it (D38). What was acknowledged still counts, whoever got no answer
 * asks again, and the end is the same.
 */

import { X509Certificate } from "node:crypto";
import { EventEmitter } from "node:events";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import test, { type ExecutionContext } from "ava";
import type { EnrolAnswer } from "#protocol/agent.ts";
import { createCredentials } from "../../server/agent/credentials.ts";
import { createEnrolment } from "../../server/agent/enrolment.ts";
import type { EnrolBody } from "../../server/agent/schemas.ts";
import { openSite, type Site } from "../../server/enrol/authority.ts";
import { codeOfKey } from "../../server/enrol/keys.ts";
import { createWindows } from "../../server/enrol/token.ts";
import {
  ForbiddenError,
  EnrolmentRefusedError as refused,
  UnavailableError,
} from "../../server/errors.ts";
import { createEventBus } from "../../server/events.ts";
import { silentLog } from "../../server/log.ts";
import { createNodes } from "../../server/node/nodes.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { type Death, Killed, openMortalStore } from "../support/mortal-store.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { enrolBody, loopback, macA, newKey } from "./agent-peer.ts";

const config = { agentPort: 0, certificateDays: 90, enrolmentMinutes: 10 };

function startMortal(directory: string, site: Site, death: Death) {
  const clock = createFakeClock();
  const log = silentLog;
  const start = () => {
    const store = openMortalStore(join(directory, "journal.db"), death);
    const events = createEventBus(log);
    const nodes = createNodes({ store, events, clock, log });
    const windows = createWindows({ store, clock, config, log });
    const context = { config, site, store, events, nodes, windows, clock, log };
    const credentials = createCredentials(context);
    return { ...context, credentials, enrol: createEnrolment(context) };
  };
  let server = start();
  return {
    /** Until it is acknowledged: whoever gets no answer asks again, the next time another process. */
    async ask<T>(work: (now: typeof server) => T | Promise<T>): Promise<T> {
      for (;;) {
        try {
          return await work(server);
        } catch (error) {
          if (error instanceof UnavailableError) continue; // the disk refused, and does no more
          if (!(error instanceof Killed)) throw error;
          server.store.close();
          server = start();
        }
      }
    },
    close: () => server.store.close(),
  };
}

type Server = ReturnType<typeof startMortal>;

/** Runs the story with a death, or a refusal of the disk, at the first change, the second, ..., until it ends without one. */
async function dieEverywhere(
  t: ExecutionContext,
  story: (server: Server) => Promise<void>,
): Promise<void> {
  const site = await openSite(temporaryDirectory(t));
  for (const when of ["before", "after", "refused"] as const) {
    let deaths = 0;
    for (let at = 1; ; at++) {
      const death: Death = { at, when, count: 0 };
      const server = startMortal(temporaryDirectory(t), site, death);
      await story(server);
      server.close();
      if (death.count < at) break;
      deaths += 1;
    }
    t.log(`${deaths} changes, ${when === "refused" ? when : `killed ${when} each`}`);
    t.true(deaths > 3);
  }
}

/** The connection of whoever shows this certificate. */
function showing(pem: string): TLSSocket {
  const socket = new EventEmitter();
  const certificate = new X509Certificate(pem);
  const tls = { authorized: true, remoteAddress: loopback, destroy: () => undefined };
  return Object.assign(socket, tls, {
    getPeerX509Certificate: () => certificate,
  }) as unknown as TLSSocket;
}

const heard = { mac: macA, ipxe: false, architectures: [] };

/** A board is switched on, fetches its script, and enrols with the token in it. */
async function enrolByToken(server: Server) {
  const pair = newKey();
  await server.ask(({ nodes }) => nodes.heard(heard, loopback));
  await server.ask(({ windows }) => windows.open(macA, "power-on"));
  const token = await server.ask(({ windows }) => windows.tokenFor(macA));
  const body = enrolBody(macA, token, pair) as EnrolBody;
  const answer = await server.ask(({ enrol }) => enrol(body, loopback));
  return { token, body, answer };
}

/** Whether the certificate is believed, and whose it is. */
const knows = (server: Server, { certificate, nodeId }: EnrolAnswer) =>
  server.ask(({ credentials }) => credentials.nodeOf(showing(certificate)).id === nodeId);

const isRefused = async (
  t: ExecutionContext,
  work: Promise<unknown>,
  error: typeof refused | typeof ForbiddenError,
) => void (await t.throwsAsync(work, { instanceOf: error }));

test("an enrolment by token", async (t) => {
  await dieEverywhere(t, async (server) => {
    const { token, answer } = await enrolByToken(server);
    t.true(await knows(server, answer));
    const thief = enrolBody(macA, token) as EnrolBody;
    await isRefused(
      t,
      server.ask(({ enrol }) => enrol(thief, loopback)),
      refused,
    );
    const node = await server.ask(({ nodes }) => nodes.byMac(macA));
    t.true(node?.quarantined);
    t.is(node?.id, answer.nodeId);
  });
});

test("an enrolment whose answers are lost again and again is not taken for a second use", async (t) => {
  await dieEverywhere(t, async (server) => {
    const { body, answer } = await enrolByToken(server);
    const again = await server.ask(({ enrol }) => enrol(body, loopback));
    t.is(again.nodeId, answer.nodeId);
    t.true(await knows(server, again));
    t.false((await server.ask(({ nodes }) => nodes.byMac(macA)))?.quarantined);
  });
});

test("an approval by the code on the screen", async (t) => {
  await dieEverywhere(t, async (server) => {
    const body = enrolBody(macA, undefined) as EnrolBody;
    const code = codeOfKey(body.publicKey);
    await server.ask(({ nodes }) => nodes.heard(heard, loopback));
    await isRefused(
      t,
      server.ask(({ enrol }) => enrol(body, loopback)),
      refused,
    );
    const asking = await server.ask(({ nodes }) => nodes.byMac(macA));
    t.deepEqual(
      asking?.asks?.map((ask) => ask.code),
      [code],
    );
    await server.ask(({ store, nodes, windows }) =>
      store.transaction(() => {
        windows.approve(macA, code);
        nodes.approve(asking?.id ?? t.fail("no node asks"));
      }),
    );
    const stranger = enrolBody(macA, undefined) as EnrolBody;
    await isRefused(
      t,
      server.ask(({ enrol }) => enrol(stranger, loopback)),
      refused,
    );
    t.true(await knows(server, await server.ask(({ enrol }) => enrol(body, loopback))));
  });
});

test("a renewal, and the first use of what it gave", async (t) => {
  await dieEverywhere(t, async (server) => {
    const { answer: old } = await enrolByToken(server);
    const next = await server.ask(({ nodes, credentials }) => {
      const node = nodes.get(old.nodeId) ?? t.fail("the node is lost");
      return credentials.renew(node, { publicKey: newKey().publicPem, nonce: "0".repeat(32) });
    });
    t.true(await knows(server, old));
    t.true(await knows(server, next));
    await isRefused(t, knows(server, old), ForbiddenError);
    t.true(await knows(server, next));
  });
});

test("a revocation", async (t) => {
  await dieEverywhere(t, async (server) => {
    const { answer, token } = await enrolByToken(server);
    await server.ask(({ nodes }) => nodes.revoke(answer.nodeId, "stolen"));
    await isRefused(t, knows(server, answer), ForbiddenError);
    const back = enrolBody(macA, token) as EnrolBody;
    await isRefused(
      t,
      server.ask(({ enrol }) => enrol(back, loopback)),
      refused,
    );
    t.is((await server.ask(({ nodes }) => nodes.byMac(macA)))?.reason, "stolen");
  });
});
