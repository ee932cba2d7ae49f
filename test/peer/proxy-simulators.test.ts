/**
 * Simulated boards that take their address from dnsmasq and everything else from
 * us in mode proxy; root, dnsmasq and redis-server are needed.
 */

import { spawnSync } from "node:child_process";
import test from "ava";
import { makeBootTree } from "../../scripts/lab/boot-servers.ts";
import type { SimulationResult } from "../../server/sim/simulation.ts";
import { cli, segment, serve, startDnsmasq } from "../support/segment.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { whatIsMissing } from "../support/udhcpc.ts";

const missing = whatIsMissing("dnsmasq", "redis-server");
const peer = missing ? test.skip : test.serial;
if (missing) console.warn(`skipped: ${missing}`);

const trials = [
  ["pi3", 4],
  ["pi4", 3],
  ["pi5", 2],
  ["edk2", 2],
  ["bios", 2],
  ["ipxe", 2],
] as const;

peer("every firmware boots from us beside somebody else's DHCP server", async (t) => {
  const wire = segment(t, "p");
  const server = wire.plug("srv", { mac: "52:54:00:b4:00:01", address: "10.77.0.1/24" });
  const other = wire.plug("oth", { mac: "52:54:00:b4:00:02", address: "10.77.0.2/24" });
  const boards = wire.plug("brd", { mac: "52:54:00:b4:00:03" });
  startDnsmasq(t, other);
  const tree = makeBootTree(temporaryDirectory(t), 12_000_000);
  await serve(t, server, {
    netinstDirectory: tree.netinst,
    loadersDirectory: tree.loaders,
    subnets: [{ cidr: "10.77.0.0/24", interface: "lan0", mode: "proxy" }],
  });
  // Probes of a neighbour: after seconds, instead of half a minute, a Raspberry Pi 3 does not answer
  // while it loads its kernel. On a busy machine the others would be lost by it.
  const probe = (settings: readonly string[]) =>
    server.run("sysctl", ...settings.map((setting) => `net.ipv4.neigh.lan0.${setting}`));
  const byDefault = [
    "base_reachable_time_ms=30000",
    "delay_first_probe_time=5",
    "retrans_time_ms=1000",
  ];
  for (const [model, count] of trials) {
    const soon = ["base_reachable_time_ms=1000", "delay_first_probe_time=1", "retrans_time_ms=200"];
    probe(model === "pi3" ? soon : byDefault);
    // one after the other: dnsmasq may offer one address to two boards that ask at once
    const words = ["sim", model, "--json", "--interface", "lan0", "--stagger", "1s"];
    const { status, stdout, stderr } = spawnSync(
      "ip",
      ["netns", "exec", boards.name, process.execPath, cli, ...words, "--count", `${count}`],
      { encoding: "utf8", timeout: 120_000 },
    );
    const result = JSON.parse(stdout || "{}") as Partial<SimulationResult>;
    const endings = result.boards?.map(({ ending }) => ending);
    t.is(status, 0, `${model}: ${JSON.stringify(endings)} ${stderr}`);
    t.is(result.booted, count);
    for (const board of result.boards ?? []) {
      t.regex(String(board.address), /^10\.77\.0\.2\d\d$/, `${model}: dnsmasq's address`);
    }
  }
});
