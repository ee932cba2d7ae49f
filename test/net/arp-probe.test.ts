import test from "ava";
import { ConfigurationError, UnavailableError } from "../../server/errors.ts";
import { silentLog } from "../../server/log.ts";
import { openArpProbe } from "../../server/net/arp-probe.ts";
import { manualClock, settle } from "../support/manual-clock.ts";
import { ip, mac } from "../support/network.ts";

const address = ip("10.77.0.150");
const user = mac("52:54:00:00:00:0b");

async function probe(remove: () => void = () => undefined) {
  const clock = manualClock();
  const did: string[] = [];
  const table = new Map<typeof address, typeof user>();
  const made = await openArpProbe({
    interfaceName: "lan0",
    neighbours: {
      remove(one, interfaceName) {
        remove();
        did.push(`remove ${one} ${interfaceName}`);
      },
    },
    clock,
    log: silentLog,
    read: () => table,
    openSocket: async () => ({
      boundToDevice: true,
      port: 50_000,
      send: (bytes, port, to) => void did.push(`${bytes.length} octet to ${to}:${port}`),
      onMessage: () => undefined,
      close: async () => undefined,
    }),
  });
  return { made, clock, did, table };
}

test("an old entry is removed, then the kernel is made to ask", async (t) => {
  const { made, did, clock } = await probe();
  const answer = made.ask(address);
  await clock.advance(400);
  t.is(await answer, undefined);
  t.deepEqual(did, ["remove 10.77.0.150 lan0", "1 octet to 10.77.0.150:9"]);
});

test("who answers is told as soon as the table shows it", async (t) => {
  const { made, clock, table } = await probe();
  const answer = made.ask(address);
  await clock.advance(25);
  table.set(address, user);
  await clock.advance(25);
  t.is(await answer, user);
});

test("an address asked for twice at a time is probed once", async (t) => {
  const { made, did, clock } = await probe();
  const answers = Promise.all([made.ask(address), made.ask(address)]);
  await clock.advance(400);
  t.deepEqual(await answers, [undefined, undefined]);
  t.is(did.length, 2);
});

test("without the right to remove an entry, nothing is believed", async (t) => {
  const { made, did } = await probe(() => {
    throw new UnavailableError("not permitted (CAP_NET_ADMIN)");
  });
  t.is(await made.ask(address), undefined);
  t.deepEqual(did, []);
});

test("what is closed answers those who wait", async (t) => {
  const { made } = await probe();
  const answer = made.ask(address);
  await made.close();
  await settle();
  t.is(await answer, undefined);
});

test("an interface that is not there is told when it is opened", async (t) => {
  const open = openArpProbe({
    interfaceName: "none0",
    neighbours: { remove: () => undefined },
    clock: manualClock(),
    log: silentLog,
    openSocket: () => Promise.reject(new ConfigurationError("no interface none0")),
  });
  await t.throwsAsync(open, { instanceOf: ConfigurationError });
});
