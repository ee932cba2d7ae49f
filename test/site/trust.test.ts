/**
 * Trust over the life of a node, with a real server, real agents and simulated firmware in
 * namespaces: killed servers, revocation, approval by a code, and the copy of a node. Root,
 * iproute2 and busybox are needed.
 */

import { spawn } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import test from "ava";
import type { Node } from "#protocol/node.ts";
import { createCleanup } from "../../scripts/lab/cleanup.ts";
import { learn, type Site, startSite } from "../../scripts/lab/learn.ts";
import type { SimulatedBoard } from "../../scripts/lab/simulated-board.ts";
import { until } from "../support/until.ts";

const agent = new URL("../../netinst/main.ts", import.meta.url).pathname;

/** The node as the server has it, once it is as wanted. */
async function nodeOf(site: Site, mac: string, isWanted: (node: Node) => boolean): Promise<Node> {
  for (;;) {
    const { items } = await site.server.api.get<{ items: readonly Node[] }>("/api/v1/nodes");
    const node = items.find((one) => String(one.mac) === mac);
    if (node && isWanted(node)) return node;
    await sleep(250);
  }
}

const isOnline = ({ connection }: Node) => connection === "online";
const logOf = (board: SimulatedBoard) => readFileSync(board.log, "utf8");

test.serial(
  "a node is trusted over a killed server, not after its revocation, and never twice",
  async (t) => {
    t.timeout(240_000);
    const cleanup = createCleanup((line) => t.log(line));
    t.teardown(() => cleanup.run());
    const say = (line: string) => t.log(line);
    const options = {
      ...{ stacks: 1, perStack: 2, perSlotOutlets: true, models: ["pi4"] as const, faults: {} },
      ...{ senses: true, slotTimeoutSeconds: 15, quietSeconds: 3, kills: 0, seed: 7 },
    };
    const site = await startSite(options, cleanup, say);
    t.teardown(() => site.close());
    await learn(site, options, say);
    const [first, second] = site.rack.boards.map(({ board }) => board);
    if (!first || !second) throw new Error("a rack without boards");
    const { api } = site.server;
    const before = await nodeOf(site, first.mac, isOnline);
    await nodeOf(site, second.mac, isOnline);

    await site.server.killAndRestart();
    const { connection, certificate } = await nodeOf(
      site,
      first.mac,
      ({ agent }) => (agent?.lastSeen ?? 0) > (before.agent?.lastSeen ?? 0),
    );
    t.deepEqual(
      { connection, certificate },
      { connection: "online", certificate: before.certificate },
    );

    const path = `/api/v1/nodes/${before.id}`;
    await api.send("POST", `${path}/revoke`);
    const held = await nodeOf(site, first.mac, ({ asks }) => asks !== undefined);
    t.like(held, {
      quarantined: true,
      connection: "offline",
      reason: "admin revoked its certificate",
    });
    t.is(held.certificate, undefined);
    const [ask] = held.asks ?? [];
    t.is(held.asks?.length, 1);
    await api.send("POST", `${path}/approve?code=0000-0000`); // somebody else's
    await nodeOf(site, first.mac, ({ asks }) => asks !== undefined);
    await until(() => logOf(first).includes(ask?.code ?? "no code")); // the code is on its screen
    await api.send("POST", `${path}/approve?code=${ask?.code}`);
    const back = await nodeOf(site, first.mac, isOnline);
    t.false(back.quarantined);
    t.not(back.certificate, before.certificate);

    // A copy of what the node has to prove who it is, on another machine.
    const home = join(site.directory, "rack", first.settings.name, "run");
    const copy = join(site.directory, "copy");
    mkdirSync(copy);
    cpSync(join(home, "identity"), copy, { recursive: true });
    copyFileSync(join(home, "site.json"), join(copy, "site.json"));
    const words = ["--role", "resident", "--identity-dir", copy, "--mac", first.mac];
    const where = ["netns", "exec", `${site.namespaces}-${second.settings.name}`];
    const thief = spawn(
      "ip",
      [...where, process.execPath, agent, ...words, "--interface", "eth0", "--simulate"],
      { stdio: "ignore" },
    );
    cleanup.add("copy", () => thief.kill("SIGKILL"));
    const doubled = await nodeOf(site, first.mac, ({ quarantined }) => quarantined);
    t.regex(doubled.reason ?? "", /two machines check in with its certificate/);
    thief.kill("SIGKILL");
  },
);
