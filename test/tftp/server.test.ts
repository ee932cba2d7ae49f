import test, { type ExecutionContext } from "ava";
import { parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import type { BootFiles } from "../../server/boot/file.ts";
import { bootFile } from "../../server/boot/file-cache.ts";
import { createEventBus } from "../../server/events.ts";
import { silentLog } from "../../server/log.ts";
import { startTftp } from "../../server/tftp/server.ts";
import { type ManualClock, manualClock } from "../support/manual-clock.ts";
import { openProbe, type TftpProbe } from "./client.ts";

const loopback = parseIpv4Address("127.0.0.1");
const content = Uint8Array.from({ length: 100_000 }, (_, at) => (at * 31 + (at >> 8)) & 0xff);
const mac = parseMacAddress("52:54:00:00:00:01");

const files: BootFiles = {
  open: (name) => {
    if (name === "broken") throw new Error("the disk is gone");
    if (name === "big") return bootFile(name, content, '"1"');
    return name === "text" ? bootFile(name, Buffer.from("one\ntwo\n"), '"2"') : undefined;
  },
};

interface Running {
  readonly port: number;
  readonly clock: ManualClock;
  readonly client: TftpProbe;
  readonly events: (DomainEvent & { topic: "boot-file" })[];
  /** Resolves when this many transfers have been told of. */
  told(count: number): Promise<void>;
}

async function running(
  t: ExecutionContext,
  macOf: () => typeof mac | undefined = () => mac,
): Promise<Running> {
  const clock = manualClock();
  const bus = createEventBus(silentLog);
  const events: Running["events"] = [];
  const waiting: (readonly [count: number, resolve: () => void])[] = [];
  bus.on("boot-file", (event) => {
    events.push(event);
    for (const [count, resolve] of waiting) if (events.length >= count) resolve();
  });
  const server = await startTftp({
    config: { tftpPort: 0 },
    interfaceName: "lo",
    address: loopback,
    files,
    events: bus,
    clock,
    log: silentLog,
    leases: { macOf },
  });
  const client = await openProbe();
  t.teardown(async () => {
    client.close();
    await server.close();
  });
  const told = (count: number) =>
    new Promise<void>((resolve) => {
      if (events.length >= count) resolve();
      else waiting.push([count, resolve]);
    });
  return { port: server.port, clock, client, events, told };
}

const fetches = [
  ["512-octet blocks without options", []],
  ["large blocks", [["blksize", "1468"]]],
  [
    "a window",
    [
      ["blksize", "1468"],
      ["windowsize", "16"],
    ],
  ],
  ["a size probe's options", [["tsize", "0"]]],
] as const;
for (const [title, options] of fetches) {
  test(`a file arrives whole with ${title}`, async (t) => {
    const { port, client, events, told } = await running(t);
    const bytes = await client.fetch(port, "big", options);
    t.is(Buffer.compare(bytes, content), 0);
    await told(1);
    const sent = { topic: "boot-file", protocol: "tftp", name: "big", outcome: "sent" } as const;
    t.deepEqual(events, [{ ...sent, address: loopback, mac, bytes: content.length }]);
  });
}

test("netascii is translated", async (t) => {
  const { port, client } = await running(t);
  const bytes = await client.fetch(port, "text", [], "netascii");
  t.is(Buffer.from(bytes).toString(), "one\r\ntwo\r\n");
});

const refusals = [
  ["an unknown name", "read", "nothing", "octet", 1],
  ["a path out of the table", "read", "../../etc/passwd", "octet", 1],
  ["a write request", "write", "big", "octet", 2],
  ["mode mail", "read", "big", "mail", 4],
  ["a file that cannot be read", "read", "broken", "octet", 0],
] as const;
for (const [title, kind, name, mode, code] of refusals) {
  test(`${title} is answered by ERROR ${code} from the request port`, async (t) => {
    const { port, client } = await running(t);
    client.send({ kind, name, mode, options: [] }, port);
    const { packet, port: from } = await client.next();
    t.is(packet.kind === "error" && packet.code, code);
    t.is(from, port);
  });
}

test("an address without a lease gets no answer at all", async (t) => {
  const { port, client, events } = await running(t, () => undefined);
  client.send({ kind: "read", name: "nothing", mode: "octet", options: [] }, port);
  client.send({ kind: "write", name: "x", mode: "octet", options: [] }, port);
  const { packet } = await client.next();
  t.is(packet.kind === "error" && packet.message, "this server takes no files");
  t.is(events.length, 0);
});

test("what is not found is told as an event", async (t) => {
  const { port, client, events } = await running(t);
  client.send({ kind: "read", name: "nothing", mode: "octet", options: [] }, port);
  await client.next();
  t.is(events[0]?.outcome, "not-found");
});

test("a stranger gets ERROR 5 and does not disturb the transfer", async (t) => {
  const { port, client } = await running(t);
  const stranger = await openProbe();
  t.teardown(() => stranger.close());
  client.send({ kind: "read", name: "big", mode: "octet", options: [] }, port);
  const first = await client.next();
  stranger.send({ kind: "ack", block: 1 }, first.port);
  const answer = await stranger.next();
  t.is(answer.packet.kind === "error" && answer.packet.code, 5);
  client.send({ kind: "ack", block: 1 }, first.port);
  const second = await client.next();
  t.is(second.packet.kind === "data" && second.packet.block, 2);
});

test("a request sent twice is answered once", async (t) => {
  const { port, client } = await running(t);
  const request = { kind: "read", name: "big", mode: "octet", options: [] } as const;
  client.send(request, port);
  client.send(request, port);
  const first = await client.next();
  client.send({ kind: "ack", block: 1 }, first.port);
  const second = await client.next();
  t.is(second.packet.kind === "data" && second.packet.block, 2);
  t.is(second.port, first.port);
});

test("a size probe ended by ERROR 8 is an aborted transfer without octets", async (t) => {
  const { port, client, events, told } = await running(t);
  client.send({ kind: "read", name: "big", mode: "octet", options: [["tsize", "0"]] }, port);
  const { packet, port: transfer } = await client.next();
  t.deepEqual(packet, { kind: "option-ack", options: [["tsize", "100000"]] });
  client.send({ kind: "error", code: 8, message: "User aborted the transfer" }, transfer);
  await told(1);
  t.is(events[0]?.outcome, "aborted");
  t.is(events[0]?.bytes, 0);
});

test("a silent client is asked again, then given up", async (t) => {
  const { port, client, clock, events, told } = await running(t);
  client.send({ kind: "read", name: "big", mode: "octet", options: [] }, port);
  const first = await client.next();
  await clock.advance(1000);
  const again = await client.next();
  t.deepEqual(again, first);
  await clock.advance(60_000);
  await told(1);
  t.is(events[0]?.outcome, "aborted");
});

test("a peer has 8 transfers at most; the ninth request gets no answer, another peer does", async (t) => {
  const { port } = await running(t);
  const probes = await Promise.all(Array.from({ length: 9 }, () => openProbe()));
  const other = await openProbe("127.0.0.2");
  t.teardown(() => {
    for (const probe of [...probes, other]) probe.close();
  });
  const request = { kind: "read", name: "big", mode: "octet", options: [] } as const;
  for (const probe of probes.slice(0, 8)) {
    probe.send(request, port);
    t.is((await probe.next()).packet.kind, "data");
  }
  const ninth = probes[8]?.next();
  probes[8]?.send(request, port);
  other.send(request, port);
  t.is((await other.next()).packet.kind, "data"); // its request came after the ninth
  t.is(await Promise.race([ninth, Promise.resolve("silence")]), "silence");
});

test("bytes that are no TFTP are dropped", async (t) => {
  const { port, client } = await running(t);
  client.send(Uint8Array.of(9, 9, 9), port);
  client.send({ kind: "read", name: "text", mode: "octet", options: [] }, port);
  const { packet } = await client.next();
  t.is(packet.kind, "data");
});
