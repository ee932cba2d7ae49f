/**
 * The agent's listener hears Debian's lldpd, which plays the switch in a namespace of its own at
 * the other end of a cable, by LLDP and by CDP.
 */

import { spawnSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test from "ava";
import type { SwitchPortsHeard } from "#protocol/agent.ts";
import { cable, namespace } from "../support/namespaces.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const missing =
  process.getuid?.() !== 0
    ? "root is needed for network namespaces"
    : spawnSync("which", ["lldpd"]).status !== 0 && "lldpd is not installed";
const peer = missing ? test.skip : test.serial;
if (missing) console.warn(`skipped: ${missing}`);

const said = [
  {
    protocol: "lldp",
    flags: [],
    heard: { port: "gi1/0/7", description: "to a/1", system: "sw1" },
  },
  { protocol: "cdp", flags: ["-cc"], heard: { port: "to a/1", system: "sw1", chassis: "sw1" } },
] as const;

for (const { protocol, flags, heard } of said) {
  peer(`lldpd at the other end of the cable is heard by ${protocol.toUpperCase()}`, async (t) => {
    const [rack, board] = [namespace(t, "ls"), namespace(t, "lb")];
    cable(
      { in: rack, name: "lan", address: "10.77.0.1/24" },
      { in: board, name: "eth0", mac: "52:54:00:11:dd:01" },
    );
    const child = new URL("lldp-child.ts", import.meta.url).pathname;
    const warnings = "--disable-warning=ExperimentalWarning";
    const listener = board.start(process.execPath, warnings, child, "eth0");
    if (!listener.stdout) throw new RangeError("no standard output");
    const lines = createInterface({ input: listener.stdout })[Symbol.asyncIterator]();
    t.is((await lines.next()).value, '"ready"');

    const directory = temporaryDirectory(t);
    chmodSync(directory, 0o755); // lldpd drops its rights before it reads and connects
    const settings = join(directory, "lldpd.conf");
    const socket = join(directory, "lldpd.socket");
    writeFileSync(
      settings,
      `configure system hostname sw1
configure lldp tx-interval 1
configure ports lan lldp portidsubtype local gi1/0/7 description "to a/1"
`,
    );
    const words = ["-d", ...flags, "-I", "lan", "-C", "lan", "-u", socket, "-O", settings];
    rack.start("lldpd", ...words);

    for await (const line of lines) {
      const [port, ...others] = (JSON.parse(line) as SwitchPortsHeard).heard;
      if (port?.port !== heard.port) continue; // before it has read its settings
      t.like(port, { protocol, ...heard });
      t.deepEqual(others, []);
      return;
    }
    t.fail("the listener ended");
  });
}
