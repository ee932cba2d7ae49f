import test from "ava";
import { createPermits } from "../../scripts/demo/permits.ts";
import {
  groupsOf,
  installGroup,
  rebootNodes,
  shutDownNodes,
  summaryOf,
} from "../../scripts/demo/scenario.ts";
import { oneReadyNode } from "./laboratory.ts";

test("an empty BIOS machine is learned, netbooted, installed, rebooted and shut down", async (t) => {
  t.timeout(20 * 60_000);
  const { scenario, node } = await oneReadyNode(t, "bios");
  for (const group of groupsOf([node])) await installGroup(scenario, group, createPermits(1));
  await rebootNodes(scenario, [node]); // each throws where something does not hold
  await shutDownNodes(scenario, [node]);
  t.like(summaryOf(scenario, node), {
    ...{ name: node.hostname, slot: "a/1", address: "10.77.0.10" },
  });
  t.deepEqual(
    scenario.rack.strip.exits(node.outlet).map(({ cause }) => cause),
    ["guest-shutdown"],
    "QEMU ran from first power-on to the ACPI power-off, through three boots",
  );
});
