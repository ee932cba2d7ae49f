import test from "ava";
import type { CheckIn } from "#protocol/agent.ts";
import {
  type Instant,
  type JobId,
  parseIpv4Address,
  parseMacAddress,
  type TaskId,
} from "#protocol/brand.ts";
import type { DomainEvent } from "#protocol/events.ts";
import type { Hardware } from "#protocol/node.ts";
import type { BootClient } from "../../server/boot/client.ts";
import { createEventBus } from "../../server/events.ts";
import { silentLog } from "../../server/log.ts";
import { createNodes } from "../../server/node/nodes.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { manualClock } from "../support/manual-clock.ts";

const mac = parseMacAddress("dc:a6:32:01:02:03");
const otherMac = parseMacAddress("dc:a6:32:01:02:04");
const address = parseIpv4Address("10.77.0.11");
const slot = { rack: "lab", stack: "a", slot: "1" };
const client: BootClient = { mac, ipxe: false, architectures: [7], firmware: "uefi-pxe-x64" };
const hardware: Hardware = {
  model: "board",
  serial: "1",
  cpus: 4,
  memoryMiB: 2048,
  disks: [],
  interfaces: [],
};
const checkIn: CheckIn = {
  role: "netinst",
  version: "0.1.0",
  bootId: "a",
  hostname: "netinst",
  uptimeSeconds: 1,
  usedMemoryMiB: 50,
};
const created = 0 as Instant;
const job = {
  kind: "reboot",
  parameters: { warnSeconds: 0 },
  state: "queued",
  selector: "all",
  createdBy: "ada",
  createdAt: created,
} as const;
const task = {
  kind: "reboot",
  state: "queued",
  epoch: 0,
  percent: 0,
  stageSeconds: {},
  createdAt: created,
} as const;
const facts = { certificate: "f", hardware, architecture: "amd64" } as const;

function createRig() {
  const store = openSqliteStore(":memory:");
  const events = createEventBus(silentLog);
  const clock = manualClock();
  const published: DomainEvent[] = [];
  events.subscribe((event) => void published.push(event));
  const context = { store, events, clock, log: silentLog };
  return { context, store, clock, published, nodes: createNodes(context) };
}

test("a new MAC address makes a discovered node, once", (t) => {
  const { nodes, published } = createRig();
  const node = nodes.heard(client);
  t.like(node, { name: "node-dca632010203", state: "discovered", connection: "offline" });
  t.like(node, { firmware: "uefi-pxe-x64", architecture: "amd64", power: "on" });
  t.deepEqual(nodes.heard(client), node);
  t.is(published.length, 1);
});

test("the iPXE that follows does not hide the firmware that started it", (t) => {
  const { nodes } = createRig();
  nodes.heard(client);
  t.is(nodes.heard({ ...client, ipxe: true, firmware: "ipxe-x64" }).firmware, "uefi-pxe-x64");
});

test("iPXE is the firmware where nothing was heard before it", (t) => {
  const { nodes } = createRig();
  t.is(nodes.heard({ ...client, ipxe: true, firmware: "ipxe-x64" }).firmware, "ipxe-x64");
});

test("a constant UUID is no identity", (t) => {
  const { nodes } = createRig();
  const uuid = "00000000-0000-0000-0000-000000000000";
  t.is(nodes.heard({ ...client, uuid }).uuid, undefined);
});

const uuid = "11223344-5566-7788-99aa-bbccddeeff00";
const clones = [
  [
    "A12: another UUID behind the MAC address holds the node",
    { uuid },
    { uuid: uuid.replace(/0$/, "1") },
    true,
  ],
  [
    "A12: another serial number holds the node",
    { serial: "abcd1234" },
    { serial: "abcd1235" },
    true,
  ],
  [
    "the UUID in the other order of octets is the same one",
    { uuid },
    { uuid: "44332211-6655-8877-99aa-bbccddeeff00" },
    false,
  ],
  [
    "the serial number in the other order of octets is the same one",
    { serial: "abcd1234" },
    { serial: "3412cdab" },
    false,
  ],
  [
    "a constant UUID contradicts nothing",
    { uuid },
    { uuid: "00000000-0000-0000-0000-000000000000" },
    false,
  ],
  ["a firmware that tells no UUID contradicts nothing", { uuid }, {}, false],
] as const;
for (const [title, first, second, held] of clones) {
  test(title, (t) => {
    const { nodes } = createRig();
    nodes.heard({ ...client, ...first });
    const node = nodes.heard({ ...client, ...second });
    t.like(node, { quarantined: held, ...first });
  });
}

test("an exchanged board that an admin approves is known by its own identity from then on", (t) => {
  const { nodes } = createRig();
  nodes.heard({ ...client, uuid });
  const other = uuid.replace(/0$/, "1");
  const { id } = nodes.heard({ ...client, uuid: other });
  nodes.approve(id);
  t.like(nodes.heard({ ...client, uuid: other }), { quarantined: false, uuid: other });
});

test("learning gives a node its place and name, and it keeps its id", (t) => {
  const { nodes } = createRig();
  const { id } = nodes.heard(client);
  const node = nodes.place(mac, slot, "lab-a-1", address);
  t.like(node, { id, name: "lab-a-1", state: "discovered" });
  t.deepEqual(node.slot, slot);
  t.is(nodes.byName("lab-a-1")?.id, id);
});

test("a retired node frees slot, name and certificate, and keeps its record", (t) => {
  const { nodes } = createRig();
  const { id } = nodes.place(mac, slot, "lab-a-1", address);
  nodes.enrolled(id, facts);
  const retired = nodes.retire(id);
  t.like(retired, { id, state: "retired", name: "node-dca632010203", connection: "offline" });
  for (const gone of ["slot", "address", "certificate"] as const) t.is(retired[gone], undefined);
  t.is(nodes.place(otherMac, slot, "lab-a-1", address).name, "lab-a-1");
});

test("a retired board that is placed again starts anew", (t) => {
  const { nodes } = createRig();
  const { id } = nodes.place(mac, slot, "lab-a-1", address);
  nodes.retire(id);
  t.like(nodes.place(mac, slot, "lab-a-1", address), { id, state: "discovered" });
});

test("a node with a task is not retired", (t) => {
  const { nodes, store } = createRig();
  const node = nodes.place(mac, slot, "lab-a-1", address);
  store.jobs.put({ ...job, id: "job_1" as JobId });
  store.tasks.put({ ...task, id: "task_1" as TaskId, jobId: "job_1" as JobId, nodeId: node.id });
  t.throws(() => nodes.retire(node.id), { name: "ConflictError", message: /cancel it first/ });
  t.deepEqual(nodes.get(node.id), node);
});

test("of the nodes nobody vouched for, the newest 256 are kept; the others for good", (t) => {
  const { nodes, context } = createRig();
  const numbered = (number: number) =>
    parseMacAddress(`02:00:00:00:${number.toString(16).padStart(4, "0").replace(/(..)/, "$1:")}`);
  nodes.place(mac, slot, "lab-a-1", address);
  const oldest = nodes.heard({ ...client, mac: numbered(0) });
  for (let number = 1; number < 256; number++) nodes.heard({ ...client, mac: numbered(number) });
  t.is(nodes.list().length, 257);
  const restarted = createNodes(context);
  restarted.heard({ ...client, mac: numbered(256) });
  t.is(restarted.list().length, 257);
  t.is(restarted.get(oldest.id), undefined);
  t.truthy(restarted.byName("lab-a-1"));
});

test("a stranger that was given a tag or a protection is not forgotten", (t) => {
  const { nodes } = createRig();
  const kept = [
    { ...client, mac: parseMacAddress("02:00:00:00:00:01") },
    { ...client, mac: parseMacAddress("02:00:00:00:00:02") },
  ].map((one) => nodes.heard(one).id);
  const [tagged, protectedOne] = kept;
  if (!tagged || !protectedOne) return t.fail();
  nodes.update(tagged, { tags: ["mine"] });
  nodes.update(protectedOne, { protection: { reason: "data", by: "ada", at: created } });
  for (let index = 0; index < 300; index++) {
    const low = [index >> 8, index & 0xff].map((octet) => octet.toString(16).padStart(2, "0"));
    nodes.heard({ ...client, mac: parseMacAddress(`02:00:00:01:${low.join(":")}`) });
  }
  t.true(kept.every((id) => nodes.get(id) !== undefined));
});

test("a slot and a name belong to one node", (t) => {
  const { nodes } = createRig();
  nodes.place(mac, slot, "lab-a-1", address);
  t.throws(() => nodes.place(otherMac, slot, "other", address), {
    name: "ConflictError",
    message: "slot lab/a/1 already holds lab-a-1 (dc:a6:32:01:02:03)",
  });
  const elsewhere = { ...slot, slot: "2" };
  t.throws(() => nodes.place(otherMac, elsewhere, "lab-a-1", address), { name: "ConflictError" });
  const { id } = nodes.heard({ ...client, mac: otherMac });
  t.throws(() => nodes.update(id, { name: "lab-a-1" }), { name: "ConflictError" });
  t.throws(() => nodes.update(id, { name: "-x" }), { name: "InvalidInputError" });
});

const enrolments = [
  ["a node without a slot stays enrolled when it calls", false, "enrolled"],
  ["a node in a slot is ready when it calls with its certificate", true, "ready"],
] as const;
for (const [title, placed, state] of enrolments) {
  test(title, (t) => {
    const { nodes } = createRig();
    const { id } = placed ? nodes.place(mac, slot, "lab-a-1", address) : nodes.heard(client);
    t.like(nodes.enrolled(id, facts), { state: "enrolled", certificate: "f", serial: "1" });
    t.is(nodes.checkIn(id, checkIn, address).state, state);
  });
}

test("an enrolled node that gets its slot is ready with its next sign of life", (t) => {
  const { nodes } = createRig();
  const { id } = nodes.heard(client);
  nodes.enrolled(id, facts);
  nodes.checkIn(id, checkIn, address);
  nodes.place(mac, slot, "lab-a-1", address);
  nodes.heartbeat(id);
  t.is(nodes.get(id)?.state, "ready");
});

test("whoever admits nodes is asked once, and may hold a node back until it is asked again", (t) => {
  const { nodes, store } = createRig();
  const { id } = nodes.place(mac, slot, "lab-a-1", address);
  nodes.enrolled(id, facts);
  const asked: string[] = [];
  nodes.admitBy((node) => {
    asked.push(node.state);
    return asked.length === 1 ? { state: "enrolled" } : { tags: ["admitted"] };
  });
  t.is(nodes.checkIn(id, checkIn, address).state, "enrolled");
  t.like(nodes.checkIn(id, checkIn, address), { state: "ready", tags: ["admitted"] });
  nodes.checkIn(id, { ...checkIn, bootId: "b" }, address);
  t.deepEqual(asked, ["ready", "ready"]);
  t.like(store.nodes.get(id), { state: "ready", tags: ["admitted"] });
});

test("an admission that throws leaves the node as it was", (t) => {
  const { nodes, store, published } = createRig();
  const { id } = nodes.place(mac, slot, "lab-a-1", address);
  nodes.enrolled(id, facts);
  const before = published.length;
  nodes.admitBy(() => {
    throw new RangeError("no");
  });
  t.throws(() => nodes.checkIn(id, checkIn, address), { instanceOf: RangeError });
  t.like(store.nodes.get(id), { state: "enrolled", connection: "offline" });
  t.is(published.length, before);
});

const disk = { name: "sda", sizeBytes: 480e9, serial: "S1", removable: false };

test("a machine that has lost something is told: audit, event and alarm", (t) => {
  const { nodes, store, published } = createRig();
  const { id } = nodes.heard(client);
  nodes.enrolled(id, { ...facts, hardware: { ...hardware, disks: [disk] } });
  nodes.checkIn(id, { ...checkIn, hardware: { ...hardware, memoryMiB: 1024 } }, address);
  const [row] = store.audit.list({ limit: 1 });
  const text = "memory: 2048 MiB before, 1024 MiB now; disk sda (S1, 480.0 GB) is gone";
  t.like(row, { who: "server", what: "node hardware changed", target: id, detail: text });
  t.deepEqual(
    published.flatMap((event) => (event.topic === "alarm" ? [event.text] : [])),
    [`node-dca632010203 (${mac}): ${text}`],
  );
  t.is(published.filter(({ topic }) => topic === "hardware").length, 1);
});

test("a disk is protected by its serial number, in whatever node it turns up", (t) => {
  const { nodes, store } = createRig();
  const protection = { reason: "archive", by: "ada", at: created };
  const { id } = nodes.heard(client);
  nodes.enrolled(id, { ...facts, hardware: { ...hardware, disks: [disk] } });
  nodes.protectDisk("S1", protection);
  t.deepEqual(nodes.get(id)?.hardware?.disks, [{ ...disk, protection }]);
  const other = nodes.heard({ ...client, mac: otherMac });
  nodes.checkIn(other.id, { ...checkIn, hardware: { ...hardware, disks: [disk] } }, address);
  t.deepEqual(nodes.get(other.id)?.hardware?.disks, [{ ...disk, protection }]);
  nodes.protectDisk("S1", undefined);
  t.deepEqual(nodes.get(other.id)?.hardware?.disks, [disk]);
  t.deepEqual(store.protectedDisks.list(), []);
});

test("enrolling an installed node again keeps its state", (t) => {
  const { nodes } = createRig();
  const { id } = nodes.heard(client);
  nodes.enrolled(id, facts);
  nodes.update(id, { state: "installed" });
  t.like(nodes.enrolled(id, { ...facts, certificate: "g" }), {
    state: "installed",
    certificate: "g",
  });
});

test("another computer behind a known MAC address is held until an admin approves", (t) => {
  const { nodes } = createRig();
  const { id } = nodes.heard(client);
  nodes.enrolled(id, facts);
  const swapped = { ...facts, hardware: { ...hardware, serial: "2" } };
  t.like(nodes.enrolled(id, swapped), { quarantined: true });
  t.regex(nodes.get(id)?.reason ?? "", /serial number was 1, is 2/);
  t.like(nodes.approve(id), { quarantined: false, reason: undefined });
  t.false(nodes.enrolled(id, swapped).quarantined);
});

test("a check-in brings a node online, and 45 s of silence take it offline", async (t) => {
  const { nodes, clock } = createRig();
  const { id } = nodes.heard(client);
  t.is(Number(nodes.silence(id)), Number.POSITIVE_INFINITY);
  t.like(nodes.checkIn(id, checkIn, address), { connection: "online", power: "on", address });
  await clock.advance(44_000);
  nodes.markOffline();
  t.is(nodes.get(id)?.connection, "online");
  await clock.advance(1000);
  nodes.markOffline();
  t.is(nodes.get(id)?.connection, "offline");
  t.is(Number(nodes.silence(id)), 45_000);
});

test("a heartbeat keeps a node online and is told at once; the journal has it when the node is lost", async (t) => {
  const { nodes, clock, store, published } = createRig();
  const { id } = nodes.heard(client);
  nodes.checkIn(id, checkIn, address);
  const before = published.length;
  await clock.advance(44_000);
  nodes.heartbeat(id);
  const lastSeen = clock.now();
  await clock.advance(44_000);
  nodes.markOffline();
  t.like(nodes.get(id), { connection: "online", agent: { lastSeen } });
  t.not(store.nodes.get(id)?.agent?.lastSeen, lastSeen);
  t.is(published.length, before, "no news");
  await clock.advance(1000);
  nodes.markOffline();
  t.like(store.nodes.get(id), { connection: "offline", agent: { lastSeen } });
  nodes.heartbeat(id);
  t.is(nodes.get(id)?.connection, "online");
});

test("check-ins that say nothing new make no event, another boot does", async (t) => {
  const { nodes, clock, published } = createRig();
  const { id } = nodes.heard(client);
  nodes.checkIn(id, checkIn, address);
  const before = published.length;
  await clock.advance(15_000);
  nodes.checkIn(id, checkIn, address);
  t.is(published.length, before);
  const { agent } = nodes.checkIn(id, { ...checkIn, bootId: "b" }, address);
  t.is(published.length, before + 1);
  t.is(agent?.since, clock.now());
});

test("after a restart of the server an online node gets its 45 s again", async (t) => {
  const { nodes, clock, context } = createRig();
  const { id } = nodes.heard(client);
  nodes.checkIn(id, checkIn, address);
  await clock.advance(3_600_000);
  const again = createNodes(context);
  again.markOffline();
  t.is(again.get(id)?.connection, "online");
  await clock.advance(45_000);
  again.markOffline();
  t.is(again.get(id)?.connection, "offline");
});

test("an unknown node is an error, not a new node", (t) => {
  const { nodes } = createRig();
  t.throws(() => nodes.checkIn("node_x" as never, checkIn, address), { name: "NotFoundError" });
  t.deepEqual(nodes.list(), []);
});
