import test from "ava";
import { ipv4ToNumber, milliseconds, parseIpv4Address } from "#protocol/brand.ts";
import { systemClock } from "../../server/clock.ts";
import { silentLog } from "../../server/log.ts";
import { devicePort, openDeviceSocket } from "../../server/net/device-socket.ts";
import { startBatchedEngine } from "../../server/tftp/engine-batched.ts";
import { startTftp } from "../../server/tftp/server.ts";
import { openProbe } from "./client.ts";

const address = parseIpv4Address("127.0.0.1");
const limits = { transfers: 8, transfersPerPeer: 4 };

test("a thread that dies is replaced, and serves the same port", async (t) => {
  const requests = await openDeviceSocket({ interface: "lo", address, port: 0, reuse: false });
  const port = await devicePort(requests);
  const asked: number[] = [];
  const engine = await startBatchedEngine({
    ...{ requests, interfaceName: "lo", address, segmentation: true, limits },
    clock: systemClock,
    log: silentLog,
    program: new URL("./mortal-thread.ts", import.meta.url),
    answer: ({ id, address: from }) => {
      asked.push(from);
      const content = { bytes: Buffer.from("alive") };
      return { kind: "content", id, content, mtu: 1500, largestDatagram: 1500 };
    },
    ended: () => undefined,
  });
  const client = await openProbe();
  t.teardown(async () => {
    client.close();
    await engine.close(milliseconds(1000));
  });
  t.is(Buffer.from(await client.fetch(port, "f")).toString(), "alive");
  t.deepEqual(asked, [ipv4ToNumber(address)]);
});

test("without a descriptor of its interface the server uses Node's sockets", async (t) => {
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
