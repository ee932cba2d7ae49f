/** A thousand of each attack on enrolment, in-process: none gets in, nobody else is held, the journal stays small. */

import { randomBytes } from "node:crypto";
import test, { type ExecutionContext } from "ava";
import {
  type Ipv4Address,
  ipv4FromNumber,
  type MacAddress,
  parseMacAddress,
} from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import { createEnrolment } from "../../server/agent/enrolment.ts";
import type { EnrolBody } from "../../server/agent/schemas.ts";
import { openSite } from "../../server/enrol/authority.ts";
import { createWindows } from "../../server/enrol/token.ts";
import { EnrolmentRefusedError } from "../../server/errors.ts";
import { createEventBus } from "../../server/events.ts";
import { silentLog } from "../../server/log.ts";
import { createNodes } from "../../server/node/nodes.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { enrolBody, newKey } from "./agent-peer.ts";

const count = 1000;
const config = { agentPort: 0, certificateDays: 90, enrolmentMinutes: 10 };
const own = parseMacAddress("dc:a6:32:00:00:01");
const other = parseMacAddress("02:00:00:00:00:ff");
const noOwner = (_: Ipv4Address): MacAddress | undefined => undefined;
const ownAddress = "10.77.0.10" as Ipv4Address;
/** One key for all strangers: making a thousand is not what is tested. */
const strangersKey = newKey();

async function startRack(t: ExecutionContext, leases = { macOf: noOwner }) {
  const store = openSqliteStore(":memory:");
  t.teardown(() => store.close());
  const clock = createFakeClock();
  const log = silentLog;
  const events = createEventBus(log);
  const heard: DomainEvent[] = [];
  events.subscribe((event) => heard.push(event));
  const nodes = createNodes({ store, events, clock, log });
  const windows = createWindows({ store, clock, config, log });
  const site = await openSite(temporaryDirectory(t));
  const enrol = createEnrolment({
    config,
    site,
    store,
    leases,
    events,
    nodes,
    windows,
    clock,
    log,
  });
  const node = nodes.heard({ mac: own, ipxe: false, architectures: [] }, ownAddress);
  windows.open(own, "power-on");
  const token = windows.tokenFor(own) ?? t.fail("no window");
  const body = (mac: string, used?: string, pair = strangersKey) =>
    enrolBody(mac, used, pair) as EnrolBody;
  const told = (topic: DomainEvent["topic"]) => heard.filter((event) => event.topic === topic);
  /** @returns how many of a thousand got in */
  const attack = async (request: (index: number) => readonly [EnrolBody, Ipv4Address]) => {
    let accepted = 0;
    for (let index = 0; index < count; index++) {
      try {
        await enrol(...request(index));
        accepted += 1;
      } catch (error) {
        if (!(error instanceof EnrolmentRefusedError)) throw error;
      }
      clock.advance(10); // a hundred a second
    }
    return accepted;
  };
  const state = () => nodes.get(node.id) ?? t.fail("the node is lost");
  return { store, nodes, windows, clock, enrol, token, body, told, attack, state };
}

type Rack = Awaited<ReturnType<typeof startRack>>;

const address = (index: number) => ipv4FromNumber(0x0a4d_0100 + (index % 200));
const macOf = (index: number) =>
  `02:00:00:00:${(index >> 8).toString(16).padStart(2, "0")}:${(index & 255).toString(16).padStart(2, "0")}`;

/** What a thousand refusals may leave behind. */
function staysSmall(t: ExecutionContext, { told, store, nodes }: Rack, alarms: number): void {
  const figures = {
    alarms: told("alarm").length,
    auditRows: store.audit.list({ limit: 10_000 }).length,
    nodes: nodes.list().length,
  };
  t.log(`of ${count} refusals: ${JSON.stringify(figures)}`);
  t.true(figures.alarms <= alarms);
  t.true(figures.auditRows <= 110);
  t.true(figures.nodes <= 257);
}

test(`${count} guessed tokens in a node's name`, async (t) => {
  const rack = await startRack(t);
  const guess = () => randomBytes(16).toString("hex");
  t.is(await rack.attack((index) => [rack.body(own, guess()), address(index)]), 0);
  staysSmall(t, rack, 6);
  t.false(rack.state().quarantined);
  t.is(
    (await rack.enrol(rack.body(own, rack.token, newKey()), ownAddress)).nodeId,
    rack.state().id,
  );
});

test(`${count} guessed tokens in the names of ${count} nodes that do not exist`, async (t) => {
  const rack = await startRack(t);
  const guess = () => randomBytes(16).toString("hex");
  t.is(await rack.attack((index) => [rack.body(macOf(index), guess()), address(index)]), 0);
  staysSmall(t, rack, 110);
  t.is(
    (await rack.enrol(rack.body(own, rack.token, newKey()), ownAddress)).nodeId,
    rack.state().id,
  );
});

test(`a token that is used ${count} times more: its node is held, with one alarm for that`, async (t) => {
  const rack = await startRack(t);
  const { certificate } = await rack
    .enrol(rack.body(own, rack.token, newKey()), ownAddress)
    .then(rack.state);
  t.is(await rack.attack((index) => [rack.body(own, rack.token), address(index)]), 0);
  staysSmall(t, rack, 6);
  t.like(rack.state(), { quarantined: true, certificate });
});

test(`a token that comes ${count} times too late: its node is held`, async (t) => {
  const rack = await startRack(t);
  rack.clock.advance(600_000);
  t.is(await rack.attack((index) => [rack.body(own, rack.token), address(index)]), 0);
  staysSmall(t, rack, 6);
  t.true(rack.state().quarantined);
  t.is(rack.state().certificate, undefined);
});

test(`${count} other MAC addresses with a node's token: that node is held, none of them gets in`, async (t) => {
  const rack = await startRack(t);
  t.is(await rack.attack((index) => [rack.body(macOf(index), rack.token), address(index)]), 0);
  staysSmall(t, rack, 110);
  t.true(rack.state().quarantined);
});

test(`${count} requests with a cloned MAC address, without its token: nobody is held`, async (t) => {
  const rack = await startRack(t);
  rack.store.reservations.put({ mac: own, address: ownAddress, createdAt: rack.clock.now() });
  t.is(await rack.attack((index) => [rack.body(own), address(index)]), 0);
  staysSmall(t, rack, 6);
  t.false(rack.state().quarantined);
  t.is(
    (await rack.enrol(rack.body(own, rack.token, newKey()), ownAddress)).nodeId,
    rack.state().id,
  );
});

test(`${count} requests with a cloned MAC address while an admin approves the true board's code`, async (t) => {
  const rack = await startRack(t);
  const board = rack.body(own, undefined, newKey());
  await t.throwsAsync(rack.enrol(board, ownAddress), { instanceOf: EnrolmentRefusedError });
  const [ask] = rack.state().asks ?? [];
  rack.windows.approve(own, ask?.code);
  t.is(await rack.attack((index) => [rack.body(own), address(index)]), 0);
  staysSmall(t, rack, 6);
  t.is((await rack.enrol(board, ownAddress)).nodeId, rack.state().id);
});

test("a token from an address that another board has is refused, and its node held", async (t) => {
  const rack = await startRack(t, { macOf: (one) => (one === ownAddress ? own : other) });
  const thief = rack.body(own, rack.token);
  await t.throwsAsync(rack.enrol(thief, address(1)), { message: /which 02:00:00:00:00:ff has/ });
  t.true(rack.state().quarantined);
});

test("what was not told is counted, and told with the next refusal", async (t) => {
  const rack = await startRack(t);
  await rack.attack((index) => [rack.body(own, "f".repeat(32)), address(index)]);
  rack.clock.advance(600_000);
  const last = rack.body(own, "f".repeat(32));
  await t.throwsAsync(rack.enrol(last, ownAddress), { instanceOf: EnrolmentRefusedError });
  const [row] = rack.store.audit.list({ limit: 1 });
  t.regex(row?.detail ?? "", /\(and 99\d refusals before that were not told\)$/);
});
