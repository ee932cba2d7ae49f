/**
 * Boards of one outlet are told apart by LLDP: real agents in namespaces hear Debian's lldpd, which
 * speaks on the ports of their switch.
 */

import { spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import type { Node } from "#protocol/node.ts";
import { createCleanup, endProcess } from "../../scripts/lab/cleanup.ts";
import { inNamespace } from "../../scripts/lab/command.ts";
import { learn, startSite } from "../../scripts/lab/learn.ts";

const missing =
  process.getuid?.() !== 0
    ? "root is needed for network namespaces"
    : spawnSync("which", ["lldpd"]).status !== 0 && "lldpd is not installed";
const site = missing ? test.skip : test;
if (missing) console.warn(`skipped: ${missing}`);

site("every board gets the slot its switch tells, and none is a guess", async (t) => {
  t.timeout(300_000);
  const cleanup = createCleanup((line) => t.log(line));
  t.teardown(() => cleanup.run());
  const say = (line: string) => t.log(line);
  const times = { slotTimeoutSeconds: 30, quietSeconds: 3 };
  const started = await startSite(
    {
      ...{ stacks: 2, perStack: 3, perSlotOutlets: false, hasPorts: true, senses: true, seed: 3 },
      ...{ models: ["pi4"], faults: {}, ...times },
    },
    cleanup,
    say,
  );
  t.teardown(() => started.close());
  const { rack, namespaces, directory } = started;
  const lldp = join(directory, "lldp");
  mkdirSync(lldp);
  for (const one of [directory, lldp]) chmodSync(one, 0o755); // lldpd drops its rights before it connects
  const settings = join(lldp, "lldpd.conf");
  writeFileSync(
    settings,
    "configure system hostname sw1\nconfigure lldp tx-interval 1\nconfigure lldp portidsubtype ifname\n",
  );
  const socket = join(lldp, "socket");
  const words = ["-d", "-I", "*v", "-u", socket, "-O", settings];
  const [command, args] = inNamespace(`${namespaces}-sw`, "lldpd", words);
  const { pid } = spawn(command, args, { stdio: "ignore" });
  cleanup.add("lldpd", () => void (pid !== undefined && endProcess(pid)));

  const { status, nodes } = await learn(started, { ...times, kills: 0 }, say);
  t.is(status.state, "done");
  t.deepEqual(status.flagged, []);
  const found = rack.boards.map(({ board, place }) => {
    const node = nodes.find(({ mac }) => mac === board.mac) as Node | undefined;
    const [port] = node?.switchPorts?.heard ?? [];
    return [place, node?.slot, node?.name, port?.port, port?.system];
  });
  t.deepEqual(
    found,
    rack.boards.map(({ place }) => {
      const { stack, slot } = place ?? { stack: "", slot: "" };
      const name = `sim-${stack}-${slot}`;
      return [place, { rack: "sim", stack, slot }, name, `${stack}${slot}v`, "sw1"];
    }),
  );
});
