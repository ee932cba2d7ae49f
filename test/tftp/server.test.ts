/** The server over real sockets on loopback; every engine is held to the same behaviour. */

import test, { type ExecutionContext } from "ava";
import { parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import type { BootFiles } from "../../server/boot/file.ts";
import { bootFile } from "../../server/boot/file-cache.ts";
import { systemClock } from "../../server/clock.ts";
import type { Config } from "../../server/config.ts";
import { createEventBus } from "../../server/events.ts";
import { silentLog } from "../../server/log.ts";
import { startTftp, type TftpServer } from "../../server/tftp/server.ts";
import { type Heard, openProbe, type TftpProbe } from "./client.ts";

const loopback = parseIpv4Address("127.0.0.1");
/** Has no lease. */
const foreign = "127.0.0.66";
const mac = parseMacAddress("52:54:00:00:00:01");
const content = pattern(100_000);
const defaults: Config["tftp"] = {
  transfers: 512,
  transfersPerPeer: 4,
  allowFragments: false,
  engine: "batched",
};

function pattern(length: number, seed = 31): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * seed + (at >> 8)) & 0xff);
}

const files: BootFiles = {
  open: (name) => {
    if (name === "broken") throw new Error("the disk is gone");
    if (name === "big") return bootFile(name, content, '"1"');
    if (/^\d+$/.test(name)) return bootFile(name, pattern(Number(name)), `"${name}"`);
    return name === "text" ? bootFile(name, Buffer.from("one\ntwo\n"), '"2"') : undefined;
  },
};

interface Running {
  readonly server: TftpServer;
  readonly port: number;
  readonly client: TftpProbe;
  readonly events: (DomainEvent & { topic: "boot-file" })[];
  /** Resolves when this many transfers have been told of. */
  told(count: number): Promise<void>;
  close(): Promise<void>;
}

interface Options {
  readonly tftp?: Partial<Config["tftp"]>;
  readonly files?: BootFiles;
}

const read = (name: string, options: readonly (readonly [string, string])[] = []) =>
  ({ kind: "read", name, mode: "octet", options }) as const;
/** The longest that is granted: on a busy machine, too, nothing is sent twice. */
const patient = [["timeout", "8"]] as const;

/** Asks for a file, and for its first block, which is the answer. */
async function begin(client: TftpProbe, port: number, name: string): Promise<Heard> {
  client.send(read(name, patient), port);
  const { port: transfer } = await client.next();
  client.send({ kind: "ack", block: 0 }, transfer);
  return await client.next();
}

function behaviour(engine: Config["tftp"]["engine"]): void {
  const title = (text: string) => `${engine}: ${text}`;

  const start = async (options: Options = {}): Promise<Running> => {
    const bus = createEventBus(silentLog);
    const events: Running["events"] = [];
    const waiting: (readonly [count: number, resolve: () => void])[] = [];
    bus.on("boot-file", (event) => {
      events.push(event);
      for (const [count, resolve] of waiting) if (events.length >= count) resolve();
    });
    const server = await startTftp({
      config: { tftpPort: 0, tftp: { ...defaults, engine, ...options.tftp } },
      interfaceName: "lo",
      address: loopback,
      files: options.files ?? files,
      events: bus,
      clock: systemClock,
      log: silentLog,
      leases: { macOf: (address) => (String(address) === foreign ? undefined : mac) },
    });
    const client = await openProbe();
    const close = async () => {
      client.close();
      await server.close();
    };
    const told = (count: number) =>
      new Promise<void>((resolve) => {
        if (events.length >= count) resolve();
        else waiting.push([count, resolve]);
      });
    return { server, port: server.port, client, events, told, close };
  };

  const running = async (t: ExecutionContext, options: Options = {}): Promise<Running> => {
    const own = await start(options);
    t.teardown(() => own.close());
    return own;
  };

  /** For tests that are nothing to each other: a server takes a while to start. */
  let common: Running;
  test.before(async () => {
    common = await start();
  });
  test.after.always(() => common.close());

  const probe = async (t: ExecutionContext, address?: string): Promise<TftpProbe> => {
    const opened = await openProbe(address);
    t.teardown(() => opened.close());
    return opened;
  };

  test.serial(title("is the engine asked for"), (t) => {
    t.is(common.server.engine, engine === "portable" ? "portable" : "batched");
  });

  const fetches = [
    ["512-octet blocks without options", []],
    ["large blocks", [["blksize", "1468"]]],
    ["windows", [["blksize", "1468"], ["windowsize", "16"]]], // biome-ignore format: one row per case
    ["windows of more than one row", [["blksize", "1000"], ["windowsize", "100"]]], // biome-ignore format: one row per case
    ["the largest blocks", [["blksize", "65464"]]],
  ] as const;
  for (const [what, options] of fetches) {
    test.serial(title(`a file arrives whole with ${what}`), async (t) => {
      const { port, client, events, told } = await running(t);
      const bytes = await client.fetch(port, "big", options);
      t.is(Buffer.compare(bytes, content), 0);
      await told(1);
      const sent = { topic: "boot-file", protocol: "tftp", name: "big", outcome: "sent" } as const;
      t.deepEqual(events, [{ ...sent, address: loopback, mac, bytes: content.length }]);
    });
  }

  const sizes = [0, 1, 511, 512, 513, 1024, 512 * 16, 512 * 16 - 1, 512 * 16 + 1];
  test.serial(title("files of every size around a block and a window arrive whole"), async (t) => {
    const { port } = common;
    for (const size of sizes) {
      for (const options of [[], [["windowsize", "16"]]] as const) {
        const client = await probe(t); // a block sent twice is nothing to the next
        const bytes = await client.fetch(port, String(size), options);
        t.is(Buffer.compare(bytes, pattern(size)), 0, `${size} octets`);
      }
    }
  });

  test.serial(title("more than 65535 blocks: the block number begins again at 0"), async (t) => {
    const { port } = common;
    const client = await probe(t);
    const size = 8 * 65_540 + 3;
    const options = [
      ["blksize", "8"],
      ["windowsize", "64"],
    ] as const;
    const bytes = await client.fetch(port, String(size), options);
    t.is(Buffer.compare(bytes, pattern(size)), 0);
  });

  test.serial(title("netascii is translated"), async (t) => {
    const { port } = common;
    const client = await probe(t);
    const bytes = await client.fetch(port, "text", [], "netascii");
    t.is(Buffer.from(bytes).toString(), "one\r\ntwo\r\n");
  });

  const refusals = [
    ["an unknown name", "read", "nothing", "octet", 1],
    ["a path out of the table", "read", "../../etc/passwd", "octet", 1],
    ["an absolute path", "read", "/etc/passwd", "octet", 1],
    ["a path with backslashes", "read", "..\\..\\etc\\passwd", "octet", 1],
    ["an escaped path", "read", "%2e%2e/etc/passwd", "octet", 1],
    ["a doubled path", "read", "....//etc/passwd", "octet", 1],
    ["a name of 400 octets", "read", "x".repeat(400), "octet", 1],
    ["a name beyond ASCII", "read", "größe/ядро", "octet", 1],
    ["a write request", "write", "big", "octet", 2],
    ["a write request under a new name", "write", "new", "octet", 2],
    ["mode mail", "read", "big", "mail", 4],
    ["a file that cannot be read", "read", "broken", "octet", 0],
  ] as const;
  for (const [what, kind, name, mode, code] of refusals) {
    test.serial(title(`${what} is answered by ERROR ${code} from the request port`), async (t) => {
      const { port } = common;
      const client = await probe(t);
      client.send({ kind, name, mode, options: [] }, port);
      const { packet, port: from } = await client.next();
      t.is(packet.kind === "error" && packet.code, code);
      t.is(from, port);
    });
  }

  test.serial(title("a peer without a lease gets not one octet, whatever it sends"), async (t) => {
    const { port, client, events } = await running(t);
    const stranger = await probe(t, foreign);
    stranger.send(read("big"), port);
    stranger.send({ kind: "write", name: "x", mode: "octet", options: [] }, port);
    stranger.send({ kind: "ack", block: 1 }, port);
    stranger.send({ kind: "data", block: 1, bytes: new Uint8Array(8) }, port);
    stranger.send(Uint8Array.of(0, 9, 9), port);
    // Requests are judged in their order: once this one is answered, those were judged.
    const { port: transfers } = await begin(client, port, "text");
    stranger.send({ kind: "ack", block: 1 }, transfers);
    client.send({ kind: "ack", block: 1 }, transfers);
    client.send(read("nothing"), port);
    await client.next();
    t.is(stranger.heard(), 0);
    t.deepEqual(events.map(({ outcome }) => outcome).sort(), ["not-found", "sent"]);
  });

  test.serial(title("what is not found is told as an event"), async (t) => {
    const { port, client, events } = await running(t);
    client.send(read("nothing"), port);
    await client.next();
    t.is(events[0]?.outcome, "not-found");
  });

  test.serial(title("a stranger gets ERROR 5 and does not disturb the transfer"), async (t) => {
    const { port, client } = await running(t);
    const stranger = await probe(t);
    const first = await begin(client, port, "big");
    stranger.send({ kind: "error", code: 0, message: "stop" }, first.port);
    stranger.send({ kind: "ack", block: 1 }, first.port);
    const answer = await stranger.next();
    t.is(answer.packet.kind === "error" && answer.packet.code, 5);
    client.send({ kind: "ack", block: 1 }, first.port);
    const second = await client.next();
    t.is(second.packet.kind === "data" && second.packet.block, 2);
  });

  test.serial(title("a request sent twice is answered once"), async (t) => {
    const { port, client } = await running(t);
    client.send(read("big", patient), port);
    client.send(read("big", patient), port);
    const first = await client.next();
    client.send({ kind: "ack", block: 0 }, first.port);
    const second = await client.next();
    t.is(second.packet.kind === "data" && second.packet.block, 1);
    t.is(second.port, first.port);
  });

  test.serial(
    title("a second transfer of the same client port comes from another port"),
    async (t) => {
      const { port, client } = await running(t);
      const first = await begin(client, port, "text");
      client.send({ kind: "ack", block: 1 }, first.port);
      const second = await begin(client, port, "big");
      t.not(second.port, first.port);
      client.send({ kind: "ack", block: 1 }, first.port); // late, and of the transfer before
      client.send({ kind: "ack", block: 1 }, second.port);
      const third = await client.next();
      t.is(third.packet.kind === "data" && third.packet.block, 2);
    },
  );

  test.serial(
    title("a size probe ended by ERROR 8 is an aborted transfer without octets"),
    async (t) => {
      const { port, client, events, told } = await running(t);
      client.send(read("big", [["tsize", "0"]]), port);
      const { packet, port: transfer } = await client.next();
      t.deepEqual(packet, { kind: "option-ack", options: [["tsize", "100000"]] });
      client.send({ kind: "error", code: 8, message: "User aborted the transfer" }, transfer);
      await told(1);
      t.is(events[0]?.outcome, "aborted");
      t.is(events[0]?.bytes, 0);
    },
  );

  test.serial(
    title("a peer has its number of transfers; the next request gets no answer, another peer does"),
    async (t) => {
      const { port } = await running(t);
      const probes = await Promise.all(Array.from({ length: 5 }, () => probe(t)));
      const other = await probe(t, "127.0.0.2");
      for (const one of probes.slice(0, 4)) {
        t.is((await begin(one, port, "big")).packet.kind, "data");
      }
      probes[4]?.send(read("big"), port);
      t.is((await begin(other, port, "big")).packet.kind, "data"); // its request came after the fifth
      t.is(probes[4]?.heard(), 0);
    },
  );

  test.serial(title("bytes that are no TFTP are dropped"), async (t) => {
    const { port, client } = await running(t);
    client.send(Uint8Array.of(9, 9, 9), port);
    client.send(new Uint8Array(0), port);
    client.send(new Uint8Array(1400).fill(1), port);
    client.send(read("text"), port);
    const { packet } = await client.next();
    t.is(packet.kind, "data");
  });

  test.serial(
    title("a file replaced during a transfer arrives as it was, the next one as it is"),
    async (t) => {
      let current = content;
      const { port, client } = await running(t, {
        files: { open: (name) => bootFile(name, current, '"x"') },
      });
      const first = await begin(client, port, "big");
      current = pattern(100_000, 37);
      const old = await client.goOn(first);
      t.is(Buffer.compare(old, content), 0);
      const next = await probe(t);
      t.is(Buffer.compare(await next.fetch(port, "big"), current), 0);
    },
  );

  test.serial(
    title("5,000 requests without an ACK leave room for a client that goes on"),
    async (t) => {
      const { port, client, server } = await running(t, { tftp: { transfers: 32 } });
      const flood = await Promise.all(
        Array.from({ length: 20 }, (_, at) => probe(t, `127.0.1.${at + 1}`)),
      );
      for (let count = 0; count < 5000; count++) {
        flood[count % flood.length]?.send(read("big", [["tsize", String(count)]]), port);
      }
      const bytes = await client.fetch(port, "big", [["blksize", "1468"]]);
      t.is(Buffer.compare(bytes, content), 0);
      t.true(server.counts().transfers <= 32);
    },
  );

  test.serial(title("a closing server lets a transfer finish and takes no other"), async (t) => {
    const { port, client, server, told, events } = await running(t);
    const first = await begin(client, port, "big");
    client.send({ kind: "ack", block: 1 }, first.port);
    const second = await client.next();
    const closed = server.close();
    const bytes = await client.goOn(first, second);
    await closed;
    await told(1);
    t.is(Buffer.compare(bytes, content), 0);
    t.is(events[0]?.outcome, "sent");
  });

  test.serial(title("a window takes fewer system calls than datagrams"), async (t) => {
    const { port, client, server } = await running(t);
    const options = [["blksize", "1000"], ["windowsize", "50"]] as const; // biome-ignore format: as sent
    await client.fetch(port, "big", options);
    await server.close();
    const { calls, datagrams } = server.counts();
    t.true(datagrams >= 102); // the OACK, 100 full blocks and the empty last one
    t.true(engine === "portable" ? calls === datagrams : calls <= datagrams / 10);
  });
}

for (const engine of ["batched", "unsegmented", "portable"] as const) behaviour(engine);
