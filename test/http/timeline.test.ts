import test from "ava";
import { parseIpv4Address, parseMacAddress } from "#protocol/brand.ts";
import type { Timeline } from "#protocol/timeline.ts";
import { startTestServer, tokens } from "./support.ts";

test("a node's time line joins what is recorded of its MAC address, slot and tasks", async (t) => {
  const server = await startTestServer();
  t.teardown(() => server.close());
  const node = server.store.nodes.byName("lab-a-1");
  if (!node?.slot) throw new Error("the stock has lab-a-1 in a slot");
  server.store.nodes.put({ ...node, connection: "offline" });
  const { mac, slot } = node;
  server.events.publish({ topic: "power", slot, state: "on", ok: true });
  for (const outcome of ["offer", "offer"]) {
    server.events.publish({
      topic: "dhcp",
      mac,
      message: "discover",
      outcome,
      interface: "lo",
      ...(node.address && { address: node.address }),
      firmware: "raspberry-pi-3",
    });
  }
  server.events.publish({
    topic: "boot-file",
    address: parseIpv4Address("10.77.0.99"),
    mac: parseMacAddress("02:00:00:00:00:01"),
    protocol: "tftp",
    name: "another's",
    bytes: 1,
    outcome: "sent",
  });
  await server.fetch("/api/v1/nodes", { token: tokens.viewer }); // a turn, so that events are written
  server.clock.move(10_000);
  for (const name of [node.id, node.name, mac]) {
    const response = await server.fetch(`/api/v1/nodes/${name}/timeline`, { token: tokens.viewer });
    t.is(response.status, 200);
    const timeline = (await response.json()) as Timeline;
    t.deepEqual(
      timeline.moments.map(({ text }) => text),
      ["outlet on", "DISCOVER (raspberry-pi-3): OFFER 10.77.0.17"],
    );
    t.is(timeline.findings[0]?.code, "no-file-asked");
    t.is(timeline.nodeId, node.id);
  }
});

test("a MAC address that is no node yet has a time line too; another name is not found", async (t) => {
  const server = await startTestServer();
  t.teardown(() => server.close());
  const mac = parseMacAddress("02:00:00:00:00:01");
  server.events.publish({
    topic: "dhcp",
    mac,
    message: "discover",
    outcome: "unknown-client",
    interface: "lo",
  });
  const response = await server.fetch(`/api/v1/nodes/${mac}/timeline`, { token: tokens.viewer });
  const timeline = (await response.json()) as Timeline;
  t.is(timeline.findings[0]?.code, "unknown-client");
  t.is(timeline.nodeId, undefined);
  const other = await server.fetch("/api/v1/nodes/nobody/timeline", { token: tokens.viewer });
  t.is(other.status, 404);
  t.is((await server.fetch(`/api/v1/nodes/${mac}/timeline`)).status, 401);
  const limited = await server.fetch(`/api/v1/nodes/${mac}/timeline?limit=0`, {
    token: tokens.viewer,
  });
  t.is(limited.status, 400);
});
