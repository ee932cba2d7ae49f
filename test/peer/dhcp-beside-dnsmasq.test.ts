/** Our server on one segment with dnsmasq, which gives addresses too; root, dnsmasq, udhcpc, curl and redis-server are needed. */

import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import type { Namespace } from "../support/namespaces.ts";
import { segment, serve, startDhcpServer, startDnsmasq } from "../support/segment.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { insistent, udhcpc, whatIsMissing } from "../support/udhcpc.ts";

const missing = whatIsMissing("dnsmasq", "udhcpc", "curl", "redis-server");
const peer = missing ? test.skip : test.serial;
if (missing) console.warn(`skipped: ${missing}`);

const otherMac = "52:54:00:b1:00:02";
const clientMac = "52:54:00:b1:00:03";
const pxeClient = new URL("pxe-client.ts", import.meta.url).pathname;
const base = { cidr: "10.77.0.0/24", interface: "lan0", reserved: ["10.77.0.10", "10.77.0.99"] };
const pool = ["10.77.0.100", "10.77.0.150"];

function rack(t: ExecutionContext) {
  const wire = segment(t, "b");
  return {
    wire,
    server: wire.plug("srv", { mac: "52:54:00:b1:00:01", address: "10.77.0.1/24" }),
    other: wire.plug("oth", { mac: otherMac, address: "10.77.0.2/24" }),
    client: wire.plug("cli", { mac: clientMac }),
  };
}

/** What a PXE client came to, as pxe-client.ts says it. */
function bootByPxe(where: Namespace): Record<string, unknown> {
  return JSON.parse(where.run(process.execPath, pxeClient, clientMac)) as Record<string, unknown>;
}

const isRogue = (line: Record<string, unknown>) => line["topic"] === "rogue-server";

peer("another DHCP server is found and named by all it is known by", async (t) => {
  const { server, other } = rack(t);
  startDnsmasq(t, other);
  const ours = await startDhcpServer(t, server, { subnets: [base] });
  const rogue = await ours.says(isRogue);
  t.like(rogue, {
    kind: "dhcp",
    interface: "lan0",
    address: "10.77.0.2",
    mac: otherMac,
    serverIdentifier: "10.77.0.2",
  });
  t.regex(String(rogue["offered"]), /^10\.77\.0\.2\d\d$/);
  t.deepEqual(await ours.end(), {}, "our own questions are not counted");
});

peer(
  "mode proxy: the address comes from dnsmasq, the boot file from us, on 67 and 4011",
  async (t) => {
    const { server, other, client } = rack(t);
    startDnsmasq(t, other);
    const { reserved: _, ...subnet } = base;
    const ours = await startDhcpServer(t, server, { subnets: [{ ...subnet, mode: "proxy" }] });
    const came = bootByPxe(client);
    t.like(came, {
      addressServer: "10.77.0.2",
      bootServer: "10.77.0.1",
      offeredFile: "ipxe-x64.efi",
      offeredClass: "PXEClient",
      acknowledgedFile: "ipxe-x64.efi",
      acknowledgedAddress: "0.0.0.0",
    });
    t.regex(String(came["address"]), /^10\.77\.0\.2\d\d$/);
    const counts = await ours.end();
    t.is(counts["ack"], 1);
    t.is(counts["nak"], undefined);
  },
);

peer("mode auto beside dnsmasq gives no address, and boots as a proxy", async (t) => {
  const { server, other, client } = rack(t);
  startDnsmasq(t, other);
  const subnet = { ...base, pool, mode: "auto" };
  const ours = await startDhcpServer(t, server, { subnets: [subnet] });
  await ours.says(isRogue);
  const { lease } = udhcpc(t, client, "lan0", ...insistent);
  t.is(lease["serverid"], "10.77.0.2");
  t.like(bootByPxe(client), { addressServer: "10.77.0.2", bootServer: "10.77.0.1" });
  t.is((await ours.end())["nak"], undefined);
});

peer("mode auto alone serves, and gives way to a server that comes later", async (t) => {
  const { server, other, client, wire } = rack(t);
  const late = wire.plug("lat", { mac: "52:54:00:b1:00:04" });
  const subnet = { ...base, pool, mode: "auto" };
  const ours = await startDhcpServer(t, server, { subnets: [subnet] });
  const first = udhcpc(t, client, "lan0", ...insistent);
  t.is(first.lease["serverid"], "10.77.0.1");
  t.regex(String(first.lease["ip"]), /^10\.77\.0\.1\d\d$/);
  startDnsmasq(t, other);
  await ours.says(isRogue);
  const second = udhcpc(t, late, "lan0", ...insistent);
  t.is(second.lease["serverid"], "10.77.0.2");
  const counts = await ours.end();
  t.is(counts["ack"], 1, "the first client's");
});

peer("of two servers in mode auto one serves in the end", async (t) => {
  const { server, other, client } = rack(t);
  const ours = await startDhcpServer(t, server, {
    subnets: [{ ...base, pool, mode: "auto" }],
  });
  const theirs = await startDhcpServer(t, other, {
    subnets: [{ ...base, pool: ["10.77.0.160", "10.77.0.190"], mode: "auto" }],
  });
  t.is(udhcpc(t, client, "lan0", ...insistent).status, 0);
  // one of them hears the other: by the client's choice, or by asking
  await Promise.race([ours.says(isRogue), theirs.says(isRogue)]);
  const servers = Array.from(
    { length: 3 },
    () => udhcpc(t, client, "lan0", ...insistent).lease["serverid"],
  );
  t.not(servers[0], undefined);
  t.is(new Set(servers).size, 1);
});

/** What curl gets, or nothing. */
function fetch(where: Namespace, url: string): string {
  const args = ["netns", "exec", where.name, "curl", "--silent", "--fail", "--max-time", "5", url];
  return spawnSync("ip", args, { encoding: "utf8" }).stdout;
}

peer(
  "mode proxy: TFTP serves the client that dnsmasq gave an address, and no stranger",
  async (t) => {
    const { server, other, client, wire } = rack(t);
    const stranger = wire.plug("str", { mac: "52:54:00:b1:00:05", address: "10.77.0.60/24" });
    startDnsmasq(t, other);
    const loader = "a loader of some kind\n".repeat(5000);
    const directory = temporaryDirectory(t);
    writeFileSync(join(directory, "ipxe-x64.efi"), loader);
    const { reserved: _, ...subnet } = base;
    await serve(t, server, {
      loadersDirectory: directory,
      netinstDirectory: directory,
      subnets: [{ ...subnet, mode: "proxy" }],
    });
    const came = bootByPxe(client);
    t.is(came["acknowledgedFile"], "ipxe-x64.efi");
    t.is(fetch(client, "tftp://10.77.0.1/ipxe-x64.efi"), loader);
    t.regex(
      fetch(client, `http://10.77.0.1:8080/boot/node/${clientMac.replaceAll(":", "-")}/boot.ipxe`),
      /^#!ipxe/,
    );
    t.is(fetch(stranger, "tftp://10.77.0.1/ipxe-x64.efi"), "");
  },
);
