/**
 * A12: two machines with one hardware address and different UUIDs on one segment; root and
 * redis-server are needed.
 */

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import test from "ava";
import type { DomainEvent } from "#protocol/events.ts";
import type { Node } from "#protocol/node.ts";
import { type Api, createApi } from "../../scripts/lab/api.ts";
import { makeBootTree } from "../../scripts/lab/boot-servers.ts";
import { systemClock } from "../../server/clock.ts";
import { hashToken } from "../../server/http/auth.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import type { Namespace } from "../support/namespaces.ts";
import { cli, segment, serve } from "../support/segment.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { whatIsMissing } from "../support/udhcpc.ts";

const missing = whatIsMissing("redis-server");
const peer = missing ? test.skip : test.serial;
if (missing) console.warn(`skipped: ${missing}`);

const mac = "52:54:00:c1:00:01";

/** A boot from power-on to the kernel, as machine number `machine` behind the one hardware address. */
async function boot(where: Namespace, machine: number): Promise<string> {
  const words = ["sim", "bios", "--interface", "lan0", "--first-mac", mac, "--timeout", "40s"];
  const args = ["netns", "exec", where.name, process.execPath, cli, ...words];
  const child = spawn("ip", [...args, "--machine", `${machine}`]);
  const [said] = await Promise.all([text(child.stdout), once(child, "exit")]);
  return said;
}

peer(
  "two machines with one hardware address: the node is held, with one alarm that says so",
  async (t) => {
    const wire = segment(t, "w");
    const server = wire.plug("srv", { mac: "52:54:00:c0:00:01", address: "10.77.0.1/24" });
    const one = wire.plug("one", { mac: "52:54:00:c0:00:02" });
    const other = wire.plug("oth", { mac: "52:54:00:c0:00:03" });
    const tree = makeBootTree(temporaryDirectory(t), 1_000_000);
    const stateDirectory = temporaryDirectory(t);
    const token = addAdmin(join(stateDirectory, "marcoboot.db"));
    await serve(t, server, {
      stateDirectory,
      netinstDirectory: tree.netinst,
      loadersDirectory: tree.loaders,
      subnets: [
        {
          ...{ cidr: "10.77.0.0/24", interface: "lan0", mode: "dynamic" },
          ...{ reserved: ["10.77.0.10", "10.77.0.99"], pool: ["10.77.0.100", "10.77.0.199"] },
        },
      ],
    });
    const api = createApi(join(stateDirectory, "admin.sock"));
    api.token = token;
    const nodes = async () => (await api.get<{ items: readonly Node[] }>("/api/v1/nodes")).items;

    await boot(one, 0);
    await boot(one, 0); // the same machine again is nobody else
    t.like(await nodes(), [{ mac, quarantined: false }]);

    await Promise.all([boot(one, 0), boot(other, 1)]);
    const [node, ...more] = await nodes();
    t.deepEqual(more, []);
    t.true(node?.quarantined);
    t.regex(node?.reason ?? "", /UUID .* two computers with one MAC address/);
    t.regex(node?.uuid ?? "", /-6400-525400c10001$/, "the first one stays recorded");
    const events = await eventsOf(api);
    t.is(events.filter((event) => event.topic === "alarm").length, 1);
  },
);

/** An admin whose token is known: the set-up code is on the server's console only. */
function addAdmin(journal: string): string {
  const store = openSqliteStore(journal);
  const createdAt = systemClock.now();
  const token = `mb_${randomBytes(16).toString("hex")}`;
  store.users.put({ name: "ada", password: "none", role: "admin", createdAt });
  store.apiTokens.put({ hash: hashToken(token), user: "ada", name: "test", createdAt });
  store.close();
  return token;
}

/** What was told so far. */
async function eventsOf(api: Api): Promise<readonly DomainEvent[]> {
  const { lastEventId } = await api.get<{ lastEventId: number }>("/api/v1/snapshot");
  const events: DomainEvent[] = [];
  const all = Promise.withResolvers<void>();
  const stop = api.follow(0, ({ id, event }) => {
    events.push(event);
    if (id >= lastEventId) all.resolve();
  });
  await all.promise;
  stop();
  return events;
}
