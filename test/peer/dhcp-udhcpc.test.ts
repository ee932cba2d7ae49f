/** Debian's udhcpc in a namespace, our server in another; root, iproute2 and udhcpc are needed. */

import { createInterface } from "node:readline";
import test, { type ExecutionContext } from "ava";
import { cable, type Namespace, namespace } from "../support/namespaces.ts";
import { hurried, udhcpc, whatIsMissing } from "../support/udhcpc.ts";

const missing = whatIsMissing("udhcpc");
const peer = missing ? test.skip : test.serial;
if (missing) console.warn(`skipped: ${missing}`);

const mac = "52:54:00:a1:00:01";
const child = new URL("dhcp-child.ts", import.meta.url).pathname;

peer(
  "udhcpc gets its reserved address, by unicast and by broadcast, without a route",
  async (t) => {
    const { server, client } = network(t);
    const said = await startServer(server, "lan0", `${mac}=10.77.0.42`);
    t.notRegex(server.run("ip", "route"), /default/);

    for (const flags of [[], ["-B"]]) {
      const { status, lease } = udhcpc(t, client, "lan0", ...flags);
      t.is(status, 0);
      t.like(lease, {
        ip: "10.77.0.42",
        subnet: "255.255.255.0",
        router: "10.77.0.254",
        serverid: "10.77.0.1",
        hostname: "node-1",
        lease: "3600",
      });
    }
    t.regex(
      server.run("ip", "neigh", "show", "10.77.0.42"),
      new RegExp(`dev lan0 lladdr ${mac} PERMANENT`),
    );
    t.deepEqual(await said(), { offer: 2, ack: 2 });
  },
);

peer("an unknown client gets no answer", async (t) => {
  const { server, client } = network(t);
  const said = await startServer(server, "lan0", "52:54:00:a1:00:99=10.77.0.42");
  t.is(udhcpc(t, client, "lan0", ...hurried).status, 1);
  const counts = await said();
  t.deepEqual(Object.keys(counts), ["unknown-client"]);
});

peer("a second interface it was not given is neither answered nor heard", async (t) => {
  const { server, client } = network(t);
  const said = await startServer(server, "lan0", `${mac}=10.77.0.42`);
  t.is(udhcpc(t, client, "lan1", ...hurried).status, 1);
  t.deepEqual(await said(), {});
});

/** lan0 and lan1 join both namespaces; the client has the same address on either. */
function network(t: ExecutionContext): { server: Namespace; client: Namespace } {
  const server = namespace(t, "as");
  const client = namespace(t, "ac");
  cable({ in: server, name: "lan0", address: "10.77.0.1/24" }, { in: client, name: "lan0", mac });
  cable({ in: server, name: "lan1", address: "10.78.0.1/24" }, { in: client, name: "lan1", mac });
  return { server, client };
}

/** Resolves when the server listens; the function ends it and gives its counts. */
async function startServer(
  where: Namespace,
  ...args: readonly string[]
): Promise<() => Promise<Record<string, number>>> {
  const process_ = where.start(process.execPath, child, ...args);
  const { stdout } = process_;
  if (!stdout) throw new RangeError("no standard output");
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  const first = await lines.next();
  if (first.value !== "ready") throw new Error("the server did not start");
  return async () => {
    process_.kill("SIGTERM");
    const last = await lines.next();
    return JSON.parse(String(last.value)) as Record<string, number>;
  };
}
