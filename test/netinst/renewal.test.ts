/** The agent's certificate over the years, against the server's real agent listener. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { runAgent } from "../../netinst/agent.ts";
import { install } from "../../netinst/steps/install.ts";
import { macA, startServer } from "../agent/agent-peer.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { until } from "../support/until.ts";
import { recordConsole } from "./support.ts";

const day = 24 * 3600 * 1000;

type Server = Awaited<ReturnType<typeof startServer>>;

/** An agent on loopback until the test ends, or `stop` is called. */
function startAgent(
  t: ExecutionContext,
  server: Server,
  how: {
    readonly role: "netinst" | "resident";
    readonly directory: string;
    readonly token?: string;
  },
) {
  const { directory, ...rest } = how;
  const console = recordConsole();
  const end = new AbortController();
  const running = runAgent(
    {
      settings: {
        ...rest,
        site: { serverKey: server.site.serverKey, discovery: { group: "127.0.0.1", port: 1 } },
        architecture: "amd64",
        identityDirectory: join(directory, "identity"),
        interface: "lo",
        mac: macA,
        bootId: `boot-of-${how.role}`,
        server: {
          url: `https://127.0.0.1:${server.listener.port}`,
          authority: server.site.authorityPem,
        },
        diskFile: "/dev/null",
        simulate: true,
        unreachableMs: 60_000,
      },
      console,
      install,
      power: async () => undefined,
      paceMs: 5,
    },
    end.signal,
  );
  const stop = async () => {
    end.abort();
    await running;
  };
  t.teardown(stop);
  return { console, stop };
}

/** A node whose installed OS has the identity that its netinst got. */
async function installedNode(t: ExecutionContext) {
  const server = await startServer(t);
  const { id } = server.knownNode(macA);
  server.windows.open(macA, "power-on");
  const directory = temporaryDirectory(t);
  const token = server.windows.tokenFor(macA) ?? "";
  const { heartbeat } = server.nodes;
  let beats = 0;
  server.nodes.heartbeat = (who) => {
    beats += 1;
    return heartbeat(who);
  };
  const netinst = startAgent(t, server, { role: "netinst", directory, token });
  // Its beat, too: one that comes after days says that it was heard lately.
  await until(() => beats > 0);
  await netinst.stop();
  const node = () => {
    const found = server.nodes.get(id);
    if (!found) throw new Error("the node vanished");
    return found;
  };
  const identity = () => readFileSync(join(directory, "identity", "node.pem"), "utf8");
  return { server, node, directory, identity };
}

test("an agent renews its certificate when a third of its time is left, and goes on with it", async (t) => {
  const { server, node, directory, identity } = await installedNode(t);
  const before = { certificate: node().certificate, identity: identity() };
  server.clock.advance(59 * day);
  const early = startAgent(t, server, { role: "resident", directory });
  await until(() => node().agent?.role === "resident");
  t.is(node().certificate, before.certificate);
  await early.stop();
  server.clock.advance(2 * day);
  startAgent(t, server, { role: "resident", directory });
  await until(() => node().certificate !== before.certificate);
  t.is(Number(node().certificateUntil), server.clock.now() + 90 * day);
  t.is(node().nextCertificate, undefined);
  t.not(identity(), before.identity);
});

test("an installed node whose certificate ended comes back with an admin's approval of its code", async (t) => {
  const { server, node, directory } = await installedNode(t);
  server.clock.advance(91 * day);
  const agent = startAgent(t, server, { role: "resident", directory });
  await until(() => (node().asks ?? []).length > 0);
  const [ask] = node().asks ?? [];
  const code = ask?.code ?? "";
  t.regex(code, /^[0-9A-Z]{4}-[0-9A-Z]{4}$/);
  await until(() => agent.console.lines.some((line) => line.includes(code)));
  server.windows.approve(macA, code);
  await until(() => node().agent?.role === "resident");
  t.is(node().asks, undefined);
});

test("a revoked node is heard again only when an admin approves it", async (t) => {
  const { server, node, directory } = await installedNode(t);
  const agent = startAgent(t, server, { role: "resident", directory });
  await until(() => node().agent?.role === "resident" && node().connection === "online");
  const { id, certificate } = server.nodes.revoke(node().id, "its disk was stolen");
  t.is(certificate, undefined);
  await until(() => agent.console.lines.some((line) => line.includes("its disk was stolen")));
  t.is(node().connection, "offline");
  const [ask] = node().asks ?? [];
  server.nodes.approve(id);
  server.windows.approve(macA, ask?.code);
  await until(() => node().connection === "online");
  t.truthy(node().certificate);
});
