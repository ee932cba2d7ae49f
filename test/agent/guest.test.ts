/** A netinst that a job has left behind on a node with a system of its own. */

import { join } from "node:path";
import test from "ava";
import type { CheckInAnswer } from "#protocol/agent.ts";
import type { Node } from "#protocol/node.ts";
import { runAgent } from "../../netinst/agent.ts";
import { saveIdentity } from "../../netinst/enrol.ts";
import { install } from "../../netinst/steps/install.ts";
import { isGuest } from "../../server/agent/guest.ts";
import { recordConsole } from "../netinst/support.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { checkInBody, macA, startServer } from "./agent-peer.ts";

const netinst = { role: "netinst" };
const rows: readonly (readonly [title: string, node: object, tasks: number, isGuest: boolean])[] = [
  ["an installed node in netinst without a task", { agent: netinst }, 0, true],
  ["one with a task", { agent: netinst }, 1, false],
  ["one that runs its own system", { agent: { role: "resident" } }, 0, false],
  ["one that is held back", { agent: netinst, quarantined: true }, 0, false],
  ["one without a system", { agent: netinst, state: "ready" }, 0, false],
  ["one that never called", {}, 0, false],
];
for (const [title, change, tasks, wanted] of rows) {
  test(`${title}: it ${wanted ? "shall leave" : "stays"}`, (t) => {
    const node = { state: "installed", quarantined: false, ...change } as Node;
    const store = { tasks: { unfinishedOf: () => Array(tasks).fill({}) } };
    t.is(isGuest(node, store as never), wanted);
  });
}

test("it is told so when it checks in", async (t) => {
  const { call, enrolled, nodes } = await startServer(t);
  const { node, credential } = await enrolled(macA);
  const ask = async () =>
    (await call("/check-in", { credential, body: checkInBody })).body as CheckInAnswer;
  t.is((await ask()).leave, undefined);
  nodes.update(node.id, { state: "installed" });
  t.true((await ask()).leave);
});

test("it restarts when it is told a second time", async (t) => {
  const server = await startServer(t);
  const { node, credential } = await server.enrolled(macA);
  server.nodes.update(node.id, { state: "installed" });
  // A certificate that is to be renewed has it check in twice.
  server.clock.advance(70 * 24 * 3600 * 1000);
  const identityDirectory = join(temporaryDirectory(t), "identity");
  saveIdentity(identityDirectory, { key: credential.key, certificate: credential.cert });
  const { authorityPem: authority, serverKey } = server.site;
  const console = recordConsole();
  const stop = new AbortController();
  const restarted = Promise.withResolvers<void>();
  const running = runAgent(
    {
      settings: {
        ...{ role: "netinst", architecture: "amd64", identityDirectory, interface: "lo" },
        site: { serverKey, discovery: { group: "127.0.0.1", port: 1 } },
        ...{ mac: macA, bootId: "boot-1", simulate: true, unreachableMs: 60_000 },
        server: { url: `https://127.0.0.1:${server.listener.port}`, authority },
      },
      ...{ console, install, paceMs: 0.1 },
      power: async (verb) => {
        if (verb === "reboot") restarted.resolve();
      },
    },
    stop.signal,
  );
  await restarted.promise;
  stop.abort();
  await running;
  t.true(console.lines.some((line) => line.startsWith("there is nothing to do here")));
});
