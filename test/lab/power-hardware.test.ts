/**
 * A BMC (OpenIPMI's ipmi_sim) and a PDU (Debian's snmpd) start and stop a real
 * machine, QEMU with a BIOS and 96 MiB: our drivers are asked by the API, and the
 * server hears the machine boot.
 */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import test from "ava";
import type { StoredEvent } from "#protocol/events.ts";
import { makeBootTree } from "../../scripts/lab/boot-servers.ts";
import { createCleanup } from "../../scripts/lab/cleanup.ts";
import { startLabServer } from "../../scripts/lab/lab-server.ts";
import { createNetwork, removeStaleNamespaces } from "../../scripts/lab/namespaces.ts";
import { startQemuRack } from "../../scripts/lab/qemu-rack.ts";
import { apcOutlets, startBmc, startSnmpDevice } from "../support/hardware/hardware.ts";

const mac = "52:54:00:77:0c:01";
const bmc = { address: "10.0.0.5", user: "ada", password: "canary-bmc" };
const pdu = { address: "10.0.0.6", community: "canary-pdu" };

const outlets = {
  ipmi: {
    driver: "ipmi",
    settings: {
      host: bmc.address,
      user: bmc.user,
      password: bmc.password,
      cipherSuite: 3,
      offSeconds: 0,
    },
  },
  "snmp-pdu": {
    driver: "snmp-pdu",
    settings: { host: pdu.address, community: pdu.community, outlet: "1", offSeconds: 0 },
  },
} as const;

test("a BMC and a PDU switch a machine through our drivers, and the server hears it boot", async (t) => {
  const cleanup = createCleanup((line) => t.log(line));
  t.teardown(() => cleanup.run());
  removeStaleNamespaces();
  const directory = mkdtempSync("/var/tmp/marcoboot-test-");
  cleanup.add(directory, () => rmSync(directory, { recursive: true, force: true }));
  const network = createNetwork("10.77.0.1/24", cleanup);
  const disk = join(directory, "a1.img");
  writeFileSync(disk, Buffer.alloc(1 << 20));
  const strip = await startQemuRack({
    guests: [{ name: "a1", firmware: "bios", mac, memoryMiB: 96, disk }],
    ...{ network, cleanup, directory, accelerator: "tcg" },
  });
  const tree = makeBootTree(join(directory, "tree"), 65_536, 65_536);
  const server = await startLabServer({
    ...{ network, directory, cleanup, adminPort: 8000 },
    netinstDirectory: tree.netinst,
    loadersDirectory: tree.loaders,
  });
  const { api } = server;
  t.teardown(async () => {
    await Promise.all([strip.close(), server.stop()]);
  });
  const hardware = (name: string) => ({
    network,
    cleanup,
    socket: strip.socket,
    directory: join(directory, name),
  });
  await startBmc(bmc, "a1", hardware("bmc"));
  await startSnmpDevice(pdu.address, pdu.community, apcOutlets(["a1"]), hardware("pdu"));

  const heard: string[] = [];
  const stop = api.follow(0, ({ event }: StoredEvent) => {
    if (event.topic === "heard") heard.push(event.mac);
  });
  t.teardown(stop);
  const slot = { rack: "r", stack: "a", slot: "1" };
  const power = async (state: string) => {
    const { items } = await api.send<{ items: readonly { ok: boolean; reason?: string }[] }>(
      "POST",
      "/api/v1/power",
      { slot, state },
    );
    t.true(items[0]?.ok, items[0]?.reason);
  };
  for (const [kind, outlet] of Object.entries(outlets)) {
    const slots = [{ name: "1", outlet }];
    await api.send(
      "PUT",
      "/api/v1/racks/r",
      JSON.stringify({ name: "r", stacks: [{ name: "a", slots }] }),
    );
    t.false(JSON.stringify(await api.get("/api/v1/racks/r")).includes("canary"), kind);
    t.is(strip.state("a1"), "off", kind);
    const before = heard.length;
    await power("on");
    t.is(strip.state("a1"), "on", kind);
    for (let round = 0; round < 240 && heard.length === before; round++) await sleep(250);
    t.is(heard.at(-1), mac, `${kind}: the machine asks by DHCP`);
    await power("cycle");
    t.is(strip.state("a1"), "on", kind);
    await power("off");
    t.is(strip.state("a1"), "off", kind);
  }
  const ends = strip.exits("a1").map(({ cause }) => cause);
  t.is(ends.join(), "power-cut,power-cut,power-cut,power-cut");
});
