/** ISC dhclient and perfdhcp against our server; root and both programs are needed. */

import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { cable, type Namespace, namespace } from "../support/namespaces.ts";
import { startDhcpServer } from "../support/segment.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { whatIsMissing } from "../support/udhcpc.ts";

const missing = whatIsMissing("dhclient", "perfdhcp");
const peer = missing ? test.skip : test.serial;
if (missing) console.warn(`skipped: ${missing}`);

const mac = "52:54:00:b3:00:02";
const subnet = {
  cidr: "10.77.0.0/16",
  interface: "lan0",
  reserved: ["10.77.0.10", "10.77.0.99"],
  pool: ["10.77.1.0", "10.77.31.255"],
  router: "10.77.0.254",
  dns: ["10.77.0.1"],
  domainName: "rack.example",
  domainSearch: ["rack.example", "example"],
  ntp: ["10.77.0.3"],
  routes: [{ to: "10.80.0.0/16", via: "10.77.0.9" }],
  leaseSeconds: 120,
};

function cabled(t: ExecutionContext, address?: string) {
  const server = namespace(t, "bcs");
  const client = namespace(t, "bcc");
  cable({ in: server, name: "lan0", address: "10.77.0.1/16" }, { in: client, name: "lan0", mac });
  if (address) client.run("ip", "address", "add", address, "dev", "lan0");
  return { server, client };
}

type Told = Readonly<Record<string, string>>;

/** What its script is called for in the end (dhclient-script(8)). */
const outcomes = ["BOUND", "REBOOT", "TIMEOUT", "FAIL"];

interface Dhclient {
  /** Runs until its script is called for this reason; what the script was told then. */
  until(reason: string): Promise<Told>;
  /** Gives the address back. */
  release(): void;
  /** What it keeps of its leases. */
  readonly leaseFile: string;
}

function dhclient(t: ExecutionContext, where: Namespace): Dhclient {
  const directory = temporaryDirectory(t);
  const [script, leaseFile, pid, told, settings] = [
    "script",
    "leases",
    "pid",
    "told",
    "dhclient.conf",
  ].map((name) => join(directory, name)) as [string, string, string, string, string];
  // the address is put on, so that RELEASE can be sent from it
  writeFileSync(
    script,
    `#!/bin/sh
env >> ${told}; echo "--" >> ${told}
case "$reason" in BOUND|REBOOT|RENEW) ip address replace "$new_ip_address/16" dev "$interface";; esac
exit 0
`,
    { mode: 0o755 },
  );
  writeFileSync(
    settings,
    `option rfc3442-routes code 121 = array of unsigned integer 8;
request subnet-mask, routers, domain-name, domain-search, domain-name-servers, ntp-servers,
  host-name, rfc3442-routes;
timeout 60; retry 1; initial-interval 20; reboot 60;
`,
  );
  const options = ["-4", "-cf", settings, "-sf", script, "-lf", leaseFile, "-pf", pid] as const;
  return {
    leaseFile,
    async until(reason) {
      writeFileSync(told, "");
      const running = where.start("dhclient", "-d", "-q", "-1", ...options, "lan0");
      const ended = once(running, "exit");
      // Its script is called before it writes the lease down.
      const isKept = ({ new_ip_address: address }: Told) =>
        new RegExp(`fixed-address ${address};[^}]*}\\n$`).test(readFileSync(leaseFile, "utf8"));
      for (;;) {
        const found = readTold(told).find((one) => outcomes.includes(one["reason"] ?? ""));
        const isThere = found !== undefined && (found["reason"] !== reason || isKept(found));
        if (isThere || running.exitCode !== null) {
          running.kill("SIGKILL"); // as a power cut ends it: without a word on the network
          await ended;
          if (found?.["reason"] === reason) return found;
          throw new Error(`dhclient came to ${found?.["reason"] ?? "nothing"}, not to ${reason}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    release() {
      where.run("dhclient", "-r", ...options, "lan0");
    },
  };
}

/** What its script was told, call by call. */
function readTold(path: string): readonly Told[] {
  return readFileSync(path, "utf8")
    .split("--\n")
    .slice(0, -1)
    .map((text) => {
      const pairs = text.split("\n").map((line) => line.split(/=(.*)/s).slice(0, 2));
      return Object.fromEntries(pairs) as Told;
    });
}

peer(
  "dhclient understands every option, comes back after a reboot, and gives its address back",
  async (t) => {
    const { server, client } = cabled(t);
    const ours = await startDhcpServer(t, server, { subnets: [subnet] }, `${mac}=10.77.0.42`);
    const isc = dhclient(t, client);

    t.like(await isc.until("BOUND"), {
      new_ip_address: "10.77.0.42",
      new_subnet_mask: "255.255.0.0",
      new_routers: "10.77.0.254",
      new_domain_name: "rack.example",
      new_domain_search: "rack.example. example.",
      new_domain_name_servers: "10.77.0.1",
      new_ntp_servers: "10.77.0.3",
      new_rfc3442_routes: "16 10 80 10 77 0 9 0 10 77 0 254",
      new_dhcp_lease_time: "120",
      new_dhcp_renewal_time: "60",
      new_dhcp_rebinding_time: "105",
    });

    const again = await isc.until("REBOOT");
    t.is(again["new_ip_address"], "10.77.0.42", "INIT-REBOOT: a REQUEST without a DISCOVER");
    isc.release();
    const counts = await ours.end();
    t.deepEqual(counts, { offer: 1, ack: 2, noted: 1 });
  },
);

peer("dhclient with another network's address is refused and then served", async (t) => {
  const { server, client } = cabled(t);
  const ours = await startDhcpServer(t, server, { subnets: [subnet] });
  const isc = dhclient(t, client);
  writeFileSync(
    isc.leaseFile,
    `lease {
  interface "lan0";
  fixed-address 192.168.9.9;
  option subnet-mask 255.255.255.0;
  option dhcp-lease-time 86400;
  option dhcp-message-type 5;
  option dhcp-server-identifier 192.168.9.1;
  renew never;
  rebind never;
  expire never;
}
`,
  );
  t.is((await isc.until("BOUND"))["new_ip_address"], "10.77.1.0");
  t.deepEqual(await ours.end(), { nak: 1, offer: 1, ack: 1 });
});

// perfdhcp takes the part of a relay agent with all its clients behind it.
peer("perfdhcp's clients are all served, each with an address of its own", async (t) => {
  const { server, client } = cabled(t, "10.77.0.2/16");
  const subnets = [{ ...subnet, relays: ["10.77.0.2"] }];
  const ours = await startDhcpServer(t, server, { subnets });
  const { stdout } = spawnSync(
    "ip",
    [
      ...["netns", "exec", client.name, "perfdhcp", "-4", "-l", "lan0"],
      ...["-r", "50", "-n", "300", "-R", "300", "-u", "10.77.0.1"],
    ],
    { encoding: "utf8", timeout: 60_000 },
  );
  const counts = await ours.end();
  t.regex(stdout, /non unique addresses: 0/, stdout);
  // it stops in the middle of its last exchanges
  t.true((counts["ack"] ?? 0) >= 290, JSON.stringify(counts));
  t.deepEqual(Object.keys(counts).sort(), ["ack", "offer"]);
});
