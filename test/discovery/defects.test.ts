/**
 * The seven defects of the discovery protocol this one takes its messages from (MarcoPolo, 2015),
 * each as a test of askers and answerers on one segment.
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { milliseconds } from "#protocol/brand.ts";
import { discoveryGroup, discoveryPort } from "#protocol/discovery.ts";
import { ask, pausesOf } from "../../server/discovery/shared/ask.ts";
import { listen } from "../../server/discovery/shared/listen.ts";
import { createQuery, type Query, type Wanted } from "../../server/discovery/shared/query.ts";
import { createResponder, type Signer } from "../../server/discovery/shared/responder.ts";
import { type Service, watchServices } from "../../server/discovery/shared/services.ts";
import { createJudge } from "../../server/discovery/shared/trust.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { createSegment, firstPort, linkAt, type Segment } from "./network.ts";
import { answerBy, makeSite, nonce, type TestSite } from "./support.ts";

const blue = "224.0.0.113";
const asker = "10.77.0.10";
const deployer: Service = { id: "deployer", params: { port: 1342 }, groups: [] };

interface Lab extends TestSite {
  readonly segment: Segment;
  answerer(
    address: string,
    signer: Signer,
    services?: () => readonly Service[],
    groups?: readonly string[],
  ): Promise<void>;
  /** Asks for so long and so often. */
  ask(
    wanted: Wanted,
    more?: { retries?: number; timeoutMs?: number; group?: string },
  ): Promise<Query>;
}

async function lab(t: ExecutionContext): Promise<Lab> {
  const site = await makeSite(t);
  const segment = createSegment();
  return {
    ...site,
    segment,
    async answerer(address, signer, services = () => [deployer], groups = [discoveryGroup]) {
      const listening = await listen({
        responder: createResponder({
          signer: () => signer,
          host: () => ({ hostname: address }),
          services,
        }),
        links: () => [linkAt(address)],
        groups: () => groups,
        port: discoveryPort,
        monotonic: () => milliseconds(0),
        every: () => () => undefined,
        open: segment.open,
      });
      t.teardown(() => listening.close());
    },
    async ask(wanted, { retries = 0, timeoutMs = 60, group } = {}) {
      const judge = createJudge({ site: site.key, authority: site.site.authorityPem });
      const query = createQuery(wanted, nonce, judge);
      const pauses = pausesOf(timeoutMs, retries);
      const links = [linkAt(asker)];
      const { open } = segment;
      await ask(
        { query, links, pauses, open, ...(group !== undefined && { group }) },
        new AbortController().signal,
      );
      return query;
    },
  };
}

const addressesOf = (query: Query) => query.found().flatMap(({ addresses }) => addresses);

test("defect 1: exclude drops an address, whatever port it answers from", async (t) => {
  const { answerer, ask, node, signer } = await lab(t);
  await answerer("10.77.0.1", signer);
  await answerer("10.77.0.11", await node("node_1"));
  const query = await ask({ service: "deployer", exclude: ["10.77.0.11"] });
  t.deepEqual(addressesOf(query), ["10.77.0.1"]);
});

test("defect 2: each retry sends the question again; a lost first one is found by the second", async (t) => {
  const { answerer, ask, signer, segment } = await lab(t);
  await answerer("10.77.0.1", signer);
  segment.lose = (_datagram, count) => count === 0;
  const query = await ask({ service: "deployer" }, { retries: 2 });
  t.deepEqual(addressesOf(query), ["10.77.0.1"]);
  const questions = segment.sent.filter(({ from }) => from === asker);
  t.is(questions.length, 3);
  t.is((await ask({ service: "deployer" }, { retries: 0 })).found().length, 1);
});

test("defect 2: the mesh is kept when a service is asked for: green does not see blue", async (t) => {
  const { answerer, ask, signer, node } = await lab(t);
  await answerer("10.77.0.1", signer, undefined, [discoveryGroup, blue]);
  await answerer("10.77.0.11", await node("node_1"), undefined, [blue]);
  const inBlue = await ask({ service: "deployer" }, { group: blue, retries: 1 });
  t.deepEqual(addressesOf(inBlue).sort(), ["10.77.0.1", "10.77.0.11"]);
  t.deepEqual(addressesOf(await ask({ service: "deployer" })), ["10.77.0.1"]);
});

test("defect 3: a node that answers several times is listed once", async (t) => {
  const { answerer, ask, signer, segment } = await lab(t);
  await answerer("10.77.0.1", signer);
  const query = await ask({ service: "deployer", maxNodes: 2 }, { retries: 3 });
  t.is(segment.sent.filter(({ from }) => from === "10.77.0.1").length, 4);
  t.deepEqual(addressesOf(query), ["10.77.0.1"]);
});

test("defect 4: malformed answers end nothing", async (t) => {
  const { ask, signer, segment } = await lab(t);
  const asking = ask({ service: "deployer" });
  await setImmediate(); // the question is out
  const hear = (bytes: Uint8Array, address: string) =>
    segment.deliver(bytes, { address, port: discoveryPort }, asker, firstPort);
  for (const text of [
    "",
    "{",
    "null",
    "[]",
    '{"Command":"OK"}',
    "\u0000\u00ff",
    "x".repeat(5000),
  ]) {
    hear(Buffer.from(text), "10.77.0.66");
  }
  const asked = { Command: "Request-For", Params: "deployer", Nonce: nonce } as const;
  hear(answerBy(signer, asked, "10.77.0.1", { port: 1 }), "10.77.0.1");
  t.deepEqual(addressesOf(await asking), ["10.77.0.1"]);
});

test("defect 5: Services lists what every host offers", async (t) => {
  const { answerer, ask, signer, node } = await lab(t);
  await answerer("10.77.0.1", signer);
  await answerer("10.77.0.11", await node("node_1"), () => []);
  const query = await ask({ services: true });
  t.deepEqual(
    query.found().map(({ addresses, services }) => [addresses[0], services]),
    [
      ["10.77.0.1", [{ id: "deployer", params: { port: 1342 } }]],
      ["10.77.0.11", []],
    ],
  );
});

test("defect 6: a service that is disabled while the answerer runs is offered no longer, after each reload", async (t) => {
  const { answerer, ask, signer } = await lab(t);
  const directory = temporaryDirectory(t);
  const write = (name: string, disabled: boolean) =>
    writeFileSync(join(directory, name), JSON.stringify({ id: "deployer", disabled }));
  write("deployer", false);
  const services = watchServices(directory, () => undefined);
  t.teardown(() => services.close());
  await answerer("10.77.0.1", signer, services.current);
  t.is((await ask({ service: "deployer" })).found().length, 1);
  write("deployer", true);
  services.reload();
  t.is((await ask({ service: "deployer" })).found().length, 0);
  services.reload();
  t.is((await ask({ service: "deployer" })).found().length, 0);
  write("deployer", false);
  services.reload();
  t.is((await ask({ service: "deployer" })).found().length, 1);
});

test("defect 7: who claims to be the install server without its key is not believed", async (t) => {
  const { answerer, ask, node, signer, site } = await lab(t);
  const stranger = (await makeSite(t, "stranger")).signer;
  const install = (url: string) => () => [{ id: "marcoboot", params: { url }, groups: [] }];
  await answerer("10.77.0.66", stranger, install("https://10.77.0.66"));
  await answerer("10.77.0.67", { ...stranger, key: site.keyId }, install("https://10.77.0.67"));
  await answerer("10.77.0.1", signer, install("https://10.77.0.1"));
  const query = await ask({ service: "marcoboot" });
  t.deepEqual(addressesOf(query), ["10.77.0.1"]);
  t.deepEqual(
    query.refused().flatMap(({ addresses }) => addresses),
    ["10.77.0.66", "10.77.0.67"],
  );
  // A node of the site is believed as the node it is, and as nothing else.
  await answerer("10.77.0.11", await node("node_1"), install("https://10.77.0.11"));
  const again = await ask({ service: "marcoboot" });
  t.deepEqual(
    again.found().map(({ trust }) => trust.by),
    ["server", "node"],
  );
});
