import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import type { Ipv4Address } from "#protocol/brand.ts";
import { type DiscoveryAnswer, type DiscoveryQuestion, signedText } from "#protocol/discovery.ts";
import { pinKey } from "../../netinst/trust.ts";
import { parseConfig } from "../../server/config.ts";
import { startDiscovery } from "../../server/discovery/server.ts";
import { openSite } from "../../server/enrol/authority.ts";
import { ConfigurationError } from "../../server/errors.ts";
import { silentLog } from "../../server/log.ts";
import type { DatagramOptions, DatagramSocket } from "../../server/net/udp.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const config = parseConfig(
  "discovery: { dnsSd: false }\nsubnets: [{ cidr: 10.77.0.0/24, interface: rack0, reserved: [10.77.0.10, 10.77.0.99] }]",
  "/test.yaml",
);
const node = { address: "10.77.0.11" as Ipv4Address, port: 40000 };
const nonce = "00112233445566778899aabbccddeeff";
const question: DiscoveryQuestion = {
  Command: "Request-For",
  Params: "marcoboot",
  Nonce: nonce,
};

interface Sent {
  readonly answer: DiscoveryAnswer;
  readonly port: number;
  readonly address: string;
}

async function setUp(t: ExecutionContext) {
  const site = await openSite(join(temporaryDirectory(t), "keys"));
  const clock = createFakeClock();
  const sent: Sent[] = [];
  const opened: DatagramOptions[] = [];
  const listeners = new Map<string | undefined, Parameters<DatagramSocket["onMessage"]>[0]>();
  const socketAt = (bound: string | undefined): DatagramSocket => ({
    send: (bytes, port, address) =>
      void sent.push({ answer: JSON.parse(new TextDecoder().decode(bytes)), port, address }),
    onMessage: (one) => void listeners.set(bound, one),
    close: async () => undefined,
    boundToDevice: true,
    port: 1337,
  });
  const start = (interfaceName: string) =>
    startDiscovery({
      config,
      interfaceName,
      address: "10.77.0.1" as Ipv4Address,
      site,
      bootUrl: "http://10.77.0.1:8080",
      agentUrl: "https://10.77.0.1:8443",
      hostname: "server",
      log: silentLog,
      clock,
      services: () => [],
      ipv6Links: () => [],
      openSocket: async (options) => {
        opened.push(options);
        return socketAt(options.address);
      },
    });
  const discovery = await start("rack0");
  const hear = (message: unknown, from = node) =>
    listeners.get("239.77.65.82")?.(
      message instanceof Uint8Array ? message : new TextEncoder().encode(JSON.stringify(message)),
      from,
    );
  return { site, clock, sent, opened, discovery, start, hear };
}

test("the answer is unicast to the asker and signed over its nonce", async (t) => {
  const { site, sent, hear, discovery } = await setUp(t);
  hear(question);
  const [reply] = sent;
  t.is(reply?.address, "10.77.0.11");
  t.is(reply?.port, 40000);
  const answer = reply?.answer as DiscoveryAnswer;
  t.is(answer.Command, "OK");
  t.is(answer.Nonce, nonce);
  t.is(answer.Address, "10.77.0.1");
  t.is(answer.Params?.["url"], "https://10.77.0.1:8443");
  t.is(answer.Params?.["authority"], site.authorityPem);
  t.true(pinKey(site.serverKey).covers(signedText(question, answer), answer.Signature));
  t.is(discovery.counts().answered, 1);
});

test("Marco is answered with Polo", async (t) => {
  const { sent, hear } = await setUp(t);
  hear({ Command: "Marco", Nonce: nonce });
  t.is(sent[0]?.answer.Command, "Polo");
});

test("its address and each group have a socket of their own on the named interface", async (t) => {
  const { opened } = await setUp(t);
  const where = { interface: "rack0", port: 1337, reuse: true };
  t.deepEqual(opened, [
    { ...where, address: "10.77.0.1" },
    {
      ...where,
      address: "239.77.65.82",
      multicast: { group: "239.77.65.82", interfaceAddress: "10.77.0.1" as Ipv4Address, hops: 1 },
    },
  ]);
});

test("an interface that no subnet names is refused", async (t) => {
  const { start } = await setUp(t);
  await t.throwsAsync(start("office0"), { instanceOf: ConfigurationError });
});

const silence = [
  ["a service we do not offer", "other-service", { ...question, Params: "deployer" }, node],
  ["garbage", "malformed", new Uint8Array([1, 2, 3]), node],
  ["a datagram over 4096 octets", "malformed", { ...question, Auth: "a".repeat(4096) }, node],
  ["another answer in the group", "malformed", { Command: "OK", Params: {}, Nonce: nonce }, node],
  [
    "a source outside the subnet",
    "foreign-source",
    question,
    { address: "192.0.2.1" as Ipv4Address, port: 53 },
  ],
] as const;
for (const [title, outcome, message, from] of silence) {
  test(`${title} gets silence, and is counted`, async (t) => {
    const { sent, hear, discovery } = await setUp(t);
    hear(message, from);
    t.is(sent.length, 0);
    t.is(discovery.counts()[outcome], 1);
  });
}

test("a source that asks too often is answered again after a while; others are at once", async (t) => {
  const { sent, hear, clock, discovery } = await setUp(t);
  for (let count = 0; count < 20; count++) hear(question);
  t.is(sent.length, 5);
  t.is(discovery.counts()["too-often"], 15);
  hear(question, { address: "10.77.0.12" as Ipv4Address, port: 40000 });
  t.is(sent.length, 6);
  clock.advance(1000);
  hear(question);
  t.is(sent.length, 7);
});

test("a thousand forged sources do not make an answer each", async (t) => {
  const { sent, hear } = await setUp(t);
  for (let count = 0; count < 1000; count++) {
    hear(question, { address: `10.77.0.${(count % 250) + 1}` as Ipv4Address, port: count + 1024 });
  }
  t.is(sent.length, 200);
});
