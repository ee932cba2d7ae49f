/** An address of the pool that another device has taken; root, iproute2 and udhcpc are needed. */

import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test, { type ExecutionContext } from "ava";
import { cable, type Namespace, namespace } from "../support/namespaces.ts";
import { insistent, udhcpc, whatIsMissing } from "../support/udhcpc.ts";

const missing = whatIsMissing("udhcpc");
const peer = missing ? test.skip : test.serial;
if (missing) console.warn(`skipped: ${missing}`);

const mac = "52:54:00:a9:00:01";
const thief = "52:54:00:a9:00:02";
const child = new URL("segment-child.ts", import.meta.url).pathname;

peer("the pool's next address is another device's: the client gets the one after it", async (t) => {
  const { server, client } = network(t);
  client.run(
    "ip",
    "link",
    "add",
    "link",
    "lan0",
    "name",
    "thief",
    "address",
    thief,
    "type",
    "macvlan",
  );
  client.run("ip", "address", "add", "10.77.0.150/24", "dev", "thief");
  client.run("ip", "link", "set", "thief", "up");
  await startServer(t, server);
  const { status, lease } = udhcpc(t, client, "lan0", ...insistent);
  t.is(status, 0);
  t.is(lease?.["ip"], "10.77.0.151");
});

peer("an address that the client itself answers for is given to it", async (t) => {
  const { server, client } = network(t);
  client.run("ip", "address", "add", "10.77.0.152/24", "dev", "lan0");
  await startServer(t, server);
  const { status, lease } = udhcpc(t, client, "lan0", ...insistent, "-r", "10.77.0.152");
  t.is(status, 0);
  t.is(lease?.["ip"], "10.77.0.152");
});

function network(t: ExecutionContext): { server: Namespace; client: Namespace } {
  const server = namespace(t, "cs");
  const client = namespace(t, "cc");
  cable({ in: server, name: "lan0", address: "10.77.0.1/24" }, { in: client, name: "lan0", mac });
  // each interface answers for its own addresses only, as two devices would
  client.run("sysctl", "-q", "-w", "net.ipv4.conf.all.arp_ignore=1");
  return { server, client };
}

async function startServer(t: ExecutionContext, where: Namespace): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "marcoboot-conflict-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, "marcoboot.yaml");
  const subnet = {
    cidr: "10.77.0.0/24",
    interface: "lan0",
    reserved: ["10.77.0.10", "10.77.0.99"],
    pool: ["10.77.0.150", "10.77.0.152"],
  };
  writeFileSync(path, JSON.stringify({ subnets: [subnet] }));
  const { stdout } = where.start(process.execPath, child, path);
  if (!stdout) throw new RangeError("no standard output");
  await once(createInterface({ input: stdout }), "line");
}
