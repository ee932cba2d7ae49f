import test, { type ExecutionContext } from "ava";
import { ipv4ToNumber, milliseconds, parseIpv4Address } from "#protocol/brand.ts";
import { type Clock, systemClock } from "../../server/clock.ts";
import { type Log, silentLog } from "../../server/log.ts";
import { loadCLibrary } from "../../server/net/c-library.ts";
import { devicePort, openDeviceSocket } from "../../server/net/device-socket.ts";
import type { Engine } from "../../server/tftp/engine.ts";
import { startBatchedEngine } from "../../server/tftp/engine-batched.ts";
import { startTftp } from "../../server/tftp/server.ts";
import { openProbe } from "./client.ts";

const address = parseIpv4Address("127.0.0.1");
const limits = { transfers: 8, transfersPerPeer: 4 };
/** The pause before a new thread is none. */
const hastyClock: Clock = { ...systemClock, sleep: async () => undefined };

interface Mortal {
  readonly port: number;
  /** Who asked, as a number. */
  readonly asked: readonly number[];
  readonly starting: Promise<Engine>;
}

/** @param fates - of the threads before the first that lives on */
async function mortal(fates: string, log: Log = silentLog): Promise<Mortal> {
  process.env["MORTAL_FATES"] = fates; // every thread gets a copy
  const requests = await openDeviceSocket({ interface: "lo", address, port: 0, reuse: false });
  const port = await devicePort(requests);
  const asked: number[] = [];
  const starting = startBatchedEngine({
    ...{ requests, interfaceName: "lo", address, segmentation: true, limits, log },
    clock: hastyClock,
    program: new URL("./mortal-thread.ts", import.meta.url),
    answer: ({ id, address: from }) => {
      asked.push(from);
      const content = { bytes: Buffer.from("alive") };
      return { kind: "content", id, content, mtu: 1500, largestDatagram: 1500 };
    },
    ended: () => undefined,
  });
  return { port, asked, starting };
}

async function assertServes(t: ExecutionContext, { port, asked, starting }: Mortal) {
  const engine = await starting;
  const client = await openProbe();
  t.teardown(async () => {
    client.close();
    await engine.close(milliseconds(1000));
  });
  t.is(Buffer.from(await client.fetch(port, "f")).toString(), "alive");
  t.deepEqual(asked, [ipv4ToNumber(address)]);
}

test.serial("a thread that dies is replaced, and serves the same port", async (t) => {
  await assertServes(t, await mortal("ready"));
});

test.serial("threads that die before they are ready are replaced, too", async (t) => {
  await assertServes(t, await mortal("ready,mute,mute"));
});

test.serial(
  "a death heard before the word that the thread was ready is one of a ready thread",
  async (t) => {
    await loadCLibrary();
    const started = await mortal("ready");
    // Its birth takes no turn of the event loop; this one lasts until it is dead.
    await new Promise((resolve) => setImmediate(resolve));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
    await assertServes(t, started);
  },
);

test.serial(
  "a first thread that is never ready is told, has no other, and leaves the port",
  async (t) => {
    const { starting, port } = await mortal("mute");
    t.is(
      await starting.then(
        () => "it runs",
        ({ message }) => message, // of an error made in another thread
      ),
      "the thread dies without a word",
    );
    const again = await openDeviceSocket({ interface: "lo", address, port, reuse: false });
    (await loadCLibrary()).close(again);
  },
);

test.serial("closed while a thread begins: it ends", async (t) => {
  const begins = Promise.withResolvers<void>();
  const log = { ...silentLog, warn: () => begins.resolve() } as unknown as Log;
  const engine = await (await mortal("ready,slow", log)).starting;
  await begins.promise;
  await t.notThrowsAsync(engine.close(milliseconds(600_000)));
});

test.serial("without a descriptor of its interface the server uses Node's sockets", async (t) => {
  const server = await startTftp({
    config: { tftpPort: 0, tftp: { ...limits, allowFragments: false, engine: "batched" } },
    interfaceName: "nosuch0",
    address,
    files: { open: () => undefined },
    events: { publish: () => undefined },
    clock: systemClock,
    log: silentLog,
  });
  const client = await openProbe();
  t.teardown(async () => {
    client.close();
    await server.close();
  });
  t.is(server.engine, "portable");
  await t.throwsAsync(client.fetch(server.port, "f"), { message: /file not found/ });
});
