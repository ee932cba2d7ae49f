import test from "ava";
import { pino } from "pino";
import { parseIpv4Address } from "#protocol/brand.ts";
import { ConfigurationError } from "../../server/errors.ts";
import { silentLog } from "../../server/log.ts";
import { interfaceAddress } from "../../server/net/interfaces.ts";
import { type DatagramSocket, openDatagramSocket } from "../../server/net/udp.ts";

function received(socket: DatagramSocket): Promise<{ text: string; port: number }> {
  return new Promise((resolve) =>
    socket.onMessage((bytes, from) =>
      resolve({ text: Buffer.from(bytes).toString(), port: from.port }),
    ),
  );
}

test("two sockets talk by unicast, and know the sender's port", async (t) => {
  const a = await openDatagramSocket({ address: "127.0.0.1", port: 0 }, silentLog);
  const b = await openDatagramSocket({ address: "127.0.0.1", port: 0 }, silentLog);
  const arrived = received(b);
  a.send(Buffer.from("hello"), b.port, "127.0.0.1");
  t.deepEqual(await arrived, { text: "hello", port: a.port });
  t.false(a.boundToDevice);
  await Promise.all([a.close(), b.close()]);
});

test("a socket bound to the loopback device hears it", async (t) => {
  const a = await openDatagramSocket({ interface: "lo", port: 0 }, silentLog);
  const b = await openDatagramSocket({ address: "127.0.0.1", port: 0 }, silentLog);
  const arrived = received(a);
  b.send(Buffer.from("hello"), a.port, "127.0.0.1");
  t.is((await arrived).text, "hello");
  await Promise.all([a.close(), b.close()]);
});

test("what a busy socket sends in the turn in which it is closed leaves before", async (t) => {
  const b = await openDatagramSocket({ address: "127.0.0.1", port: 0 }, silentLog);
  const a = await openDatagramSocket({ interface: "lo", port: 0, busy: true }, silentLog);
  const arrived = received(b);
  a.send(Buffer.from("farewell"), b.port, "127.0.0.1");
  await Promise.all([a.close(), arrived]);
  t.is((await arrived).text, "farewell");
  await b.close();
});

test("a socket in a group hears it on the interface it joined", async (t) => {
  const group = "239.77.65.82";
  const interfaceAddress = parseIpv4Address("127.0.0.1");
  const member = await openDatagramSocket(
    { interface: "lo", port: 0, reuse: true, multicast: { group, interfaceAddress } },
    silentLog,
  );
  const asker = await openDatagramSocket(
    { address: "127.0.0.1", port: 0, multicast: { group, interfaceAddress } },
    silentLog,
  );
  const arrived = received(member);
  asker.send(Buffer.from("Marco"), member.port, group);
  t.is((await arrived).text, "Marco");
  await Promise.all([member.close(), asker.close()]);
});

test("a socket for an interface that does not exist is an ordinary one, and says so", async (t) => {
  const warnings: string[] = [];
  const log = pino({ level: "warn" }, { write: (line: string) => void warnings.push(line) });
  const socket = await openDatagramSocket({ interface: "nosuch0", port: 0 }, log);
  t.false(socket.boundToDevice);
  t.regex(warnings.join(), /nosuch0.*not bound to its interface/);
  await socket.close();
});

test("a socket for broadcasts is refused where it cannot be tied to its interface", async (t) => {
  const options = { interface: "nosuch0", port: 0, broadcast: true };
  const error = await t.throwsAsync(openDatagramSocket(options, silentLog), {
    instanceOf: ConfigurationError,
  });
  t.regex(error?.message ?? "", /nosuch0: it would hear and answer other networks/);
});

test("a taken port is told with its number", async (t) => {
  const a = await openDatagramSocket({ address: "127.0.0.1", port: 0 }, silentLog);
  await t.throwsAsync(openDatagramSocket({ address: "127.0.0.1", port: a.port }, silentLog), {
    instanceOf: ConfigurationError,
    message: new RegExp(`UDP port ${a.port} on 127.0.0.1 is taken`),
  });
  await t.throwsAsync(openDatagramSocket({ interface: "lo", port: a.port }, silentLog), {
    instanceOf: ConfigurationError,
    message: new RegExp(`UDP port ${a.port} on lo is taken`),
  });
  await a.close();
});

test("closing twice, and sending afterwards, does no harm", async (t) => {
  const a = await openDatagramSocket({ address: "127.0.0.1", port: 0 }, silentLog);
  await a.close();
  await a.close();
  a.send(Buffer.from("late"), 9, "127.0.0.1");
  t.pass();
});

test("the loopback interface has its address, a missing one is named with those that exist", (t) => {
  t.is(String(interfaceAddress("lo")), "127.0.0.1");
  t.throws(() => interfaceAddress("nosuch0"), {
    instanceOf: ConfigurationError,
    message: /nosuch0.*lo \(127\.0\.0\.1\)/,
  });
});
