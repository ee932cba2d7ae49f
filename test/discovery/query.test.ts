import test, { type ExecutionContext } from "ava";
import { type DiscoveryAnswer, signedText } from "#protocol/discovery.ts";
import { createQuery, type Wanted } from "../../server/discovery/shared/query.ts";
import { createJudge, type Roots } from "../../server/discovery/shared/trust.ts";
import { answerBy, bytesOf, makeSite, nonce } from "./support.ts";

const deployer = { service: "deployer" } as const;

async function setUp(t: ExecutionContext, wanted: Wanted = deployer, roots?: Roots) {
  const own = await makeSite(t);
  const given = roots ?? { site: own.key, authority: own.site.authorityPem };
  const query = createQuery(wanted, nonce, createJudge(given));
  const found = () => query.found().map(({ addresses }) => addresses.join(" "));
  return { ...own, query, found };
}

test("server and nodes are believed, each by its own key", async (t) => {
  const { query, signer, node } = await setUp(t);
  const { question } = query;
  query.hear(answerBy(signer, question, "10.77.0.1", { port: 1 }), "10.77.0.1");
  query.hear(answerBy(await node("node_1"), question, "10.77.0.11", { port: 2 }), "10.77.0.11");
  t.deepEqual(
    query
      .found()
      .map(({ trust, params }) => [
        trust.by === "node" ? `node ${trust.nodeId}` : trust.by,
        params,
      ]),
    [
      ["server", { port: 1 }],
      ["node node_1", { port: 2 }],
    ],
  );
});

test("what a host offers is asked for as a list", async (t) => {
  const { query, signer } = await setUp(t, { services: true });
  const services = [{ id: "deployer", params: { port: 1 } }, { id: "compiler" }];
  const said = { Address: "10.77.0.1", Services: services };
  query.hear(
    bytesOf({
      ...said,
      Command: "OK",
      Nonce: nonce,
      Key: signer.key,
      Signature: signer.sign(signedText(query.question, said)),
    } satisfies DiscoveryAnswer),
    "10.77.0.1",
  );
  t.deepEqual(query.found()[0]?.services, services);
});

test("a node that answers on two addresses is one, its IPv4 address first", async (t) => {
  const { query, found, node } = await setUp(t);
  const one = await node("node_1");
  query.hear(answerBy(one, query.question, "fe80::1", {}), "fe80::1");
  query.hear(answerBy(one, query.question, "10.77.0.11", {}), "10.77.0.11");
  t.deepEqual(found(), ["10.77.0.11 fe80::1"]);
});

test("params keeps who offers every given pair", async (t) => {
  const wanted = { ...deployer, params: { arch: "arm64", port: "1342" } };
  const { query, found, node } = await setUp(t, wanted);
  const offers = [{ arch: "arm64", port: 1342, more: true }, { arch: "amd64", port: 1342 }, {}];
  for (const [index, params] of offers.entries()) {
    const address = `10.77.0.${11 + index}`;
    query.hear(answerBy(await node(`node_${index}`), query.question, address, params), address);
  }
  t.deepEqual(found(), ["10.77.0.11"]);
});

test("max nodes ends the question; strangers do not count", async (t) => {
  const { query, node } = await setUp(t, { ...deployer, maxNodes: 2 });
  const stranger = (await makeSite(t, "others")).signer;
  query.hear(answerBy(stranger, query.question, "10.77.0.66", {}), "10.77.0.66");
  query.hear(answerBy(await node("node_1"), query.question, "10.77.0.11", {}), "10.77.0.11");
  t.false(query.isComplete());
  query.hear(answerBy(await node("node_2"), query.question, "10.77.0.12", {}), "10.77.0.12");
  t.true(query.isComplete());
});

test("a node whose one address is excluded is not found by its other", async (t) => {
  const { query, found, node } = await setUp(t, { ...deployer, exclude: ["10.77.0.11"] });
  const one = await node("node_1");
  query.hear(answerBy(one, query.question, "fe80::1", {}), "fe80::1");
  query.hear(answerBy(one, query.question, "10.77.0.11", {}), "10.77.0.11");
  query.hear(answerBy(one, query.question, "fe80::1", {}), "fe80::1");
  t.deepEqual(found(), []);
});

/** What a dishonest answerer does; the honest one is at 10.77.0.1. */
const dishonest = [
  ["another site's key", {}, "others", /signed by key/],
  ["our key's name over another's signature", { Key: "own" }, "others", /signature is wrong/],
  ["other words under our signature", { Params: { port: 9 } }, "own", /signature is wrong/],
  ["our answer, passed on from its own address", {}, "relayed", /calls itself "10.77.0.1"/],
  ["a node's certificate of another site", {}, "other node", /certificate is not of this site/],
  ["a certificate that is none", { Certificate: "AAAA" }, "own", /certificate is not of this site/],
  ["a node's certificate, without its key", {}, "stolen certificate", /signature is wrong/],
] as const;
for (const [title, change, by, reason] of dishonest) {
  test(`not believed: ${title}`, async (t) => {
    const { query, signer, node, site } = await setUp(t);
    const others = await makeSite(t, "others");
    const signers = {
      own: signer,
      relayed: signer,
      others: others.signer,
      "other node": await others.node("node_1"),
      "stolen certificate": { ...(await node("node_1")), sign: others.signer.sign },
    };
    const altered = "Key" in change ? { Key: site.keyId } : change;
    const bytes = answerBy(signers[by], query.question, "10.77.0.1", { port: 1 }, altered);
    query.hear(bytes, by === "relayed" ? "10.77.0.66" : "10.77.0.1");
    t.deepEqual(query.found(), []);
    const trust = query.refused()[0]?.trust;
    t.regex(trust?.by === "nobody" ? trust.reason : "", reason);
  });
}

test("a stranger that sends the right signature under wrong words first blocks nothing", async (t) => {
  const { query, found, signer } = await setUp(t);
  const said = [signer, query.question, "10.77.0.1", { port: 1 }] as const;
  query.hear(answerBy(...said, { Params: { port: 9 } }), "10.77.0.1");
  t.deepEqual(found(), []);
  query.hear(answerBy(...said), "10.77.0.1");
  t.deepEqual(query.found()[0]?.params, { port: 1 });
});

test("an answer cannot be replayed to another question with the same nonce", async (t) => {
  const { query, signer } = await setUp(t);
  const other = { Command: "Request-For", Params: "marcoboot", Nonce: nonce } as const;
  query.hear(answerBy(signer, other, "10.77.0.1", {}), "10.77.0.1");
  t.deepEqual(query.found(), []);
});

test("an answer to an older question is no attack, and no answer", async (t) => {
  const { query, signer } = await setUp(t);
  const older = { ...query.question, Nonce: "f".repeat(32) };
  t.is(query.hear(answerBy(signer, older, "10.77.0.1", {}), "10.77.0.1"), undefined);
  t.deepEqual(query.refused(), []);
});

test("without any key answers are listed, unchecked, by address", async (t) => {
  const { query, signer, node } = await setUp(t, deployer, {});
  query.hear(answerBy(signer, query.question, "10.77.0.1", {}), "10.77.0.1");
  query.hear(answerBy(await node("node_1"), query.question, "10.77.0.11", {}), "10.77.0.11");
  t.deepEqual(
    query.found().map(({ trust }) => trust.by),
    ["unchecked", "unchecked"],
  );
});

test("an agent in netinst knows no authority: nodes are not believed there", async (t) => {
  const { key } = await makeSite(t);
  const { query, node } = await setUp(t, deployer, { site: key });
  query.hear(answerBy(await node("node_1"), query.question, "10.77.0.11", {}), "10.77.0.11");
  t.deepEqual(query.found(), []);
});

test("of strangers no more are kept than can be shown", async (t) => {
  const { query } = await setUp(t);
  const { signer } = await makeSite(t, "others");
  for (let count = 0; count < 1000; count++) {
    const address = `10.78.${count >> 8}.${count & 255}`;
    query.hear(answerBy(signer, query.question, address, {}), address);
  }
  t.is(query.refused().length, 256);
});
