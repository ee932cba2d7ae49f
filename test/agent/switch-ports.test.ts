/** What nodes hear of their switches (LLDP), as the agent listener takes it. */

import test from "ava";
import type { SwitchPort } from "#protocol/switch-port.ts";
import { checkInBody, macA, startServer } from "./agent-peer.ts";

const port = (name: string): SwitchPort => ({
  ...{ protocol: "lldp", chassis: "02:00:00:00:00:01", port: name, system: "sw1" },
});

test("what a node hears is kept with the boot that told it first", async (t) => {
  const server = await startServer(t);
  const { node, credential } = await server.enrolled(macA);
  const call = (path: string, body: unknown) => server.call(path, { credential, body });
  const kept = () => server.nodes.get(node.id)?.switchPorts;
  await call("/check-in", checkInBody);
  const first = server.clock.now();
  t.is((await call("/switch-ports", { heard: [port("gi1")] })).status, 204);
  t.deepEqual(kept(), { heard: [port("gi1")], at: first, bootId: checkInBody.bootId });

  server.clock.advance(30_000);
  await call("/switch-ports", { heard: [port("gi1"), port("gi\u00072")] });
  t.like(kept(), { heard: [port("gi1"), port("gi 2")], at: first });

  await call("/check-in", { ...checkInBody, bootId: "another-boot" });
  t.like(kept(), { heard: [port("gi1"), port("gi 2")] }, "until that boot has heard something");
  const later = server.clock.now();
  await call("/switch-ports", { heard: [port("gi3")] });
  t.deepEqual(kept(), { heard: [port("gi3")], at: later, bootId: "another-boot" });
});

const refused: readonly (readonly [title: string, heard: unknown])[] = [
  ["nothing", []],
  ["too many", Array.from({ length: 9 }, (_, index) => port(`gi${index}`))],
  ["another protocol", [{ ...port("gi1"), protocol: "edp" }]],
  ["a name too long", [port("x".repeat(513))]],
  ["more than is known", [{ ...port("gi1"), vlan: 7 }]],
];
for (const [title, heard] of refused) {
  test(`a node that tells ${title} is refused`, async (t) => {
    const server = await startServer(t);
    const { node, credential } = await server.enrolled(macA);
    t.is((await server.call("/switch-ports", { credential, body: { heard } })).status, 400);
    t.is(server.nodes.get(node.id)?.switchPorts, undefined);
  });
}
