/**
 * A15: real firmware where somebody else gives the addresses. dnsmasq is that DHCP server and
 * knows of no boot file; we are in mode `proxy`. The node boots until its agent has enrolled.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import test, { type ExecutionContext } from "ava";
import { endProcess } from "../../scripts/lab/cleanup.ts";
import { inNamespace, run } from "../../scripts/lab/command.ts";
import { type Laboratory, oneNode } from "./laboratory.ts";

const minute = 60_000;
for (const [title, firmware] of [
  ["iPXE's BIOS ROM", "bios"],
  ["OVMF", "uefi-x64"],
] as const) {
  test(`A15: ${title} boots beside a DHCP server that has no boot file`, async (t) => {
    t.timeout(15 * minute);
    const laboratory = await oneNode(t, firmware, "none", { subnet: { mode: "proxy" } });
    const { scenario, node } = laboratory;
    const { api, network, strip } = scenario.rack;
    const other = network.addHost("other", "52:54:00:77:0f:01");
    run("ip", ["-n", other, "address", "add", "10.77.0.2/24", "dev", "eth0"]);
    run("ip", ["-n", other, "link", "set", "eth0", "up"]);
    const [command, args] = inNamespace(other, "dnsmasq", [
      ...["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=eth0"],
      ...["--dhcp-range=10.77.0.150,10.77.0.159", "--leasefile-ro", "--log-facility=-"],
    ]);
    const dnsmasq = spawn(command, args, { stdio: "ignore" });
    t.teardown(() => endProcess(dnsmasq.pid));

    const solicitations = await countSolicitations(t, network.switchNamespace, node.guest.mac);

    const outlet = connect(strip.socket);
    outlet.write(`${JSON.stringify({ verb: "on", outlet: node.outlet })}\n`);
    await once(outlet, "data");
    outlet.destroy();
    await said(laboratory, /marcoboot: starting the agent/);
    // iPXE asks six times, with pauses of 16 s in all, for an IPv6 router of which it hears nothing.
    t.true(solicitations() < 6, `${solicitations()} router solicitations`);
    // Nobody's outlet was switched by the server: an admin vouches for the node.
    const found = scenario.world.nodes.get(node.guest.mac);
    t.truthy(found?.firmware, "its DHCP messages made it known");
    await api.send("POST", `/api/v1/nodes/${found?.id}/approve`);
    await said(laboratory, /marcoboot: checked in at https:\/\/10\.77\.0\.1:8443/);
    const online = await scenario.world.until("online", minute, () => {
      const now = scenario.world.nodes.get(node.guest.mac);
      return now?.connection === "online" ? now : undefined;
    });
    t.regex(online.agent?.address ?? "", /^10\.77\.0\.15\d$/, "an address of the other server");
  });
}

/** Counts a node's router solicitations from now until its first HTTP request, which is iPXE's for its script. */
async function countSolicitations(
  t: ExecutionContext,
  namespace: string,
  mac: string,
): Promise<() => number> {
  const solicitation = "icmp6 and ip6[40] == 133";
  const request = "dst port 8080 and tcp[tcpflags] & tcp-syn != 0";
  const [command, args] = inNamespace(namespace, "tcpdump", [
    ...["--immediate-mode", "-l", "-n", "-i", "br0"],
    `ether src ${mac} and ((${solicitation}) or (${request}))`,
  ]);
  const dump = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  t.teardown(() => endProcess(dump.pid));
  let count = 0;
  let isOver = false;
  createInterface({ input: dump.stdout }).on("line", (line) => {
    if (line.includes("router solicitation") && !isOver) count += 1;
    else isOver = true;
  });
  for await (const line of createInterface({ input: dump.stderr })) {
    if (line.includes("listening on")) return () => (isOver ? count : Number.NaN);
  }
  throw new Error("tcpdump ended");
}

/** Resolves when the node's console said it. */
async function said({ scenario, lines }: Laboratory, pattern: RegExp): Promise<void> {
  await scenario.world.until(String(pattern), 8 * minute, () =>
    lines.some((line) => pattern.test(line)) ? true : undefined,
  );
}
