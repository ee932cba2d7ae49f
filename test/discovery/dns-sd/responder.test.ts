import test from "ava";
import { milliseconds } from "#protocol/brand.ts";
import {
  decodeDns,
  type Message,
  type Question,
} from "../../../server/discovery/shared/dns-sd/message.ts";
import { recordsOf } from "../../../server/discovery/shared/dns-sd/records.ts";
import { createDnsResponder, mdnsPort } from "../../../server/discovery/shared/dns-sd/responder.ts";
import type { Service } from "../../../server/discovery/shared/services.ts";

const host = { name: "server", label: "server-1f3a", addresses: ["10.77.0.1", "fe80::1"] };
const services: readonly Service[] = [
  { id: "marcoboot", params: { port: 8443, url: "https://10.77.0.1:8443" }, groups: [] },
  { id: "deployer", params: { port: 1342 }, groups: [] },
];
const empty = { id: 0, isResponse: false, answers: [], authorities: [], additionals: [] };

function ask(name: string, type: Question["type"], more: Partial<Message> = {}): Message {
  const wantsUnicast = false;
  return { ...empty, questions: [{ name: name.split("."), type, wantsUnicast }], ...more };
}

function lab(given = services) {
  const responder = createDnsResponder(() => recordsOf(given, host));
  return (message: Message, at = 0, port = mdnsPort) => {
    const replies = responder.answer(message, port, milliseconds(at));
    return replies.map(({ bytes, to, isShared }) => {
      const { answers, additionals, ...rest } = decodeDns(bytes) as Message;
      const line = (one: (typeof answers)[number]) => `${one.name.join(".")} ${one.type}`;
      return {
        to,
        isShared,
        answers: answers.map(line),
        besides: additionals.map(line),
        rest,
        answered: answers,
      };
    });
  };
}

test("who browses is told who offers it, where and with which parameters, in one message", (t) => {
  const [reply, ...others] = lab()(ask("_marcoboot._tcp.local", "PTR"));
  t.deepEqual(others, []);
  t.like(reply, { to: "group", isShared: true });
  t.deepEqual(reply?.answers, ["_marcoboot._tcp.local PTR"]);
  t.deepEqual(reply?.besides, [
    "server._marcoboot._tcp.local SRV",
    "server._marcoboot._tcp.local TXT",
    "server-1f3a.local A",
    "server-1f3a.local AAAA",
  ]);
});

const questions = [
  ["which kinds there are", "_services._dns-sd._udp.local", "PTR", 2, true],
  ["where one is", "server._marcoboot._tcp.local", "SRV", 1, false],
  ["everything of one", "SERVER._Marcoboot._tcp.LOCAL", "ANY", 2, false],
  ["an address", "server-1f3a.local", "A", 1, false],
] as const;
for (const [title, name, type, count, isShared] of questions) {
  test(`asked for ${title}, it answers`, (t) => {
    const [reply] = lab()(ask(name, type));
    t.is(reply?.answers.length, count);
    t.is(reply?.isShared, isShared);
  });
}

test("others' names, responses and empty questions get silence", (t) => {
  const hear = lab();
  t.deepEqual(hear(ask("_ipp._tcp.local", "PTR")), []);
  t.deepEqual(hear(ask("_marcoboot._tcp.local", "PTR", { isResponse: true })), []);
  t.deepEqual(hear({ ...empty, questions: [] }), []);
});

test("what the asker knows is not repeated, unless it will forget it soon", (t) => {
  const hear = lab();
  const [reply] = hear(ask("_marcoboot._tcp.local", "PTR"));
  const known = reply?.answered ?? [];
  t.deepEqual(hear(ask("_marcoboot._tcp.local", "PTR", { answers: known }), 5000), []);
  const old = known.map((record) => ({ ...record, ttl: 2000 }));
  t.is(hear(ask("_marcoboot._tcp.local", "PTR", { answers: old }), 9000).length, 1);
});

test("the group hears the same record once a second at most", (t) => {
  const hear = lab();
  const times = [0, 10, 999, 1000, 1500, 2000];
  const counts = times.map((at) => hear(ask("_marcoboot._tcp.local", "PTR"), at).length);
  t.deepEqual(counts, [1, 0, 0, 1, 0, 1]);
});

test("who takes a unicast answer gets one", (t) => {
  const question = { name: ["server-1f3a", "local"], type: "A", wantsUnicast: true } as const;
  t.like(lab()({ ...empty, questions: [question] })[0], { to: "asker", isShared: false });
});

test("an ordinary resolver gets its id and question back, and nothing it would keep for long", (t) => {
  const [reply] = lab()(ask("server-1f3a.local", "A", { id: 4711 }), 0, 40_000);
  t.is(reply?.to, "asker");
  t.is(reply?.rest.id, 4711);
  t.is(reply?.rest.questions.length, 1);
  t.like(reply?.answered[0], { ttl: 10, isUnique: false, address: "10.77.0.1" });
});

test("services of one mesh, without a port, or with a name DNS-SD does not take are not announced", (t) => {
  const others: readonly Service[] = [
    { id: "blue", params: { port: 1 }, groups: ["224.0.0.113"] },
    { id: "portless", params: {}, groups: [] },
    { id: "with_underscore", params: { port: 1 }, groups: [] },
    { id: "longer-than-15-characters", params: { port: 1 }, groups: [] },
  ];
  t.deepEqual(recordsOf(others, host), []);
});

test("a hundred services do not make a message that is too long", (t) => {
  const many = Array.from({ length: 100 }, (_, index) => ({
    id: `service-${index}`,
    params: { port: 1000 + index },
    groups: [],
  }));
  const replies = lab(many)(ask("_services._dns-sd._udp.local", "PTR"));
  t.is(replies.flatMap(({ answers }) => answers).length, 100);
  t.true(replies.length > 1);
});
