/** dnsmasq as a relay agent between a client's segment and ours; root, dnsmasq and udhcpc are needed. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test, { type ExecutionContext } from "ava";
import { cable, ip, type Namespace, namespace } from "../support/namespaces.ts";
import { startDhcpServer } from "../support/segment.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { hurried, udhcpc, whatIsMissing } from "../support/udhcpc.ts";

const missing = whatIsMissing("dnsmasq", "udhcpc");
const peer = missing ? test.skip : test.serial;
if (missing) console.warn(`skipped: ${missing}`);

const mac = "52:54:00:b2:00:03";
const local = { cidr: "10.77.0.0/24", interface: "up0", reserved: ["10.77.0.10", "10.77.0.99"] };
const behind = {
  cidr: "10.88.0.0/24",
  interface: "up0",
  reserved: ["10.88.0.10", "10.88.0.99"],
  pool: ["10.88.0.100", "10.88.0.199"],
  router: "10.88.0.253",
};

/** client lan0 === lan0 relay up1 === up0 server */
function route(t: ExecutionContext) {
  const server = namespace(t, "brs");
  const relay = namespace(t, "brr");
  const client = namespace(t, "brc");
  const up = { in: relay, name: "up1", mac: "52:54:00:b2:00:01" };
  cable({ in: server, name: "up0", address: "10.77.0.1/24" }, up);
  cable({ in: relay, name: "lan0", address: "10.88.0.253/24" }, { in: client, name: "lan0", mac });
  ip("-n", relay.name, "address", "add", "10.77.0.253/24", "dev", "up1");
  ip("-n", server.name, "route", "add", "10.88.0.0/24", "via", "10.77.0.253");
  relayTo(t, relay);
  return { server, relay, client };
}

function relayTo(t: ExecutionContext, where: Namespace): void {
  where.start(
    "dnsmasq",
    ...["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root"],
    "--dhcp-relay=10.88.0.253,10.77.0.1",
    `--dhcp-leasefile=${join(temporaryDirectory(t), "leases")}`,
    `--pid-file=${join(temporaryDirectory(t), "pid")}`,
  );
}

peer("a client behind a relay agent that is named gets an address of its own subnet", async (t) => {
  const { server, client } = route(t);
  const subnets = [local, { ...behind, relays: ["10.88.0.253"] }];
  const ours = await startDhcpServer(t, server, { subnets });
  const { status, lease } = udhcpc(t, client, "lan0");
  t.is(status, 0);
  t.like(lease, { ip: "10.88.0.100", router: "10.88.0.253", serverid: "10.77.0.1" });
  t.deepEqual(await ours.end(), { offer: 1, ack: 1 });
});

peer("its reservation is honoured through the relay agent", async (t) => {
  const { server, client } = route(t);
  const subnets = [local, { ...behind, relays: ["10.88.0.253"] }];
  const ours = await startDhcpServer(t, server, { subnets }, `${mac}=10.88.0.42`);
  t.is(udhcpc(t, client, "lan0").lease["ip"], "10.88.0.42");
  await ours.end();
});

peer("a relay agent that nobody named is not answered", async (t) => {
  const { server, client } = route(t);
  const ours = await startDhcpServer(t, server, { subnets: [local, behind] });
  t.is(udhcpc(t, client, "lan0", ...hurried).status, 1);
  t.deepEqual(Object.keys(await ours.end()), ["unknown-relay"]);
});

peer("a client behind the relay agent renews its lease from us directly", async (t) => {
  const { server, relay, client } = route(t);
  relay.run("sysctl", "net.ipv4.ip_forward=1");
  const subnets = [local, { ...behind, relays: ["10.88.0.253"] }];
  const ours = await startDhcpServer(t, server, { subnets });
  const script = join(temporaryDirectory(t), "script");
  writeFileSync(
    script,
    `#!/bin/sh
if [ "$1" = bound ]; then
  ip address replace "$ip/24" dev lan0
  ip route replace default via "$router"
fi
echo "$1 $ip"
`,
    { mode: 0o755 },
  );
  const running = client.start("udhcpc", "-f", "-i", "lan0", "-t", "5", "-T", "10", "-s", script);
  if (!running.stdout) throw new RangeError("no standard output");
  for await (const line of createInterface({ input: running.stdout })) {
    if (line === "bound 10.88.0.100") running.kill("SIGUSR1"); // renew now, not at T1
    if (line.startsWith("renew")) {
      t.is(line, "renew 10.88.0.100");
      break;
    }
  }
  const { ack = 0, ...others } = await ours.end();
  t.deepEqual(others, { offer: 1 });
  t.true(ack >= 2, "once more for each time udhcpc asks again, as on a busy machine");
});
