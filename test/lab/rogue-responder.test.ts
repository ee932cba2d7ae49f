/**
 * A node, its server and a stranger on one segment, each in a namespace of its
 * own, no default route anywhere. The stranger answers first: it is the only
 * one that listens until the node has refused it.
 */

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test, { type ExecutionContext } from "ava";
import { openSite } from "../../server/enrol/authority.ts";
import { cable, ip, type Namespace, namespace } from "../support/namespaces.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const missing =
  process.getuid?.() !== 0
    ? "root is needed for network namespaces"
    : spawnSync("ip", ["-V"]).status !== 0
      ? "iproute2 is not installed"
      : undefined;
const lab = missing ? test.skip : test.serial;
if (missing) console.warn(`skipped: ${missing}`);

lab(
  "a stranger that answers first is refused by its key, and the right server is found",
  async (t) => {
    const [node, server, stranger] = segment(t);
    const keys = join(temporaryDirectory(t), "keys");
    const { serverKey } = await openSite(keys);
    const responder = new URL("responder-child.ts", import.meta.url).pathname;

    const strangerKeys = join(temporaryDirectory(t), "keys");
    await firstLine(
      stranger.start(process.execPath, responder, strangerKeys, "lan", "10.77.0.66", "stranger"),
    );
    const child = new URL("discover-child.ts", import.meta.url).pathname;
    const asking = node.start(process.execPath, child, serverKey, "lan", "10.77.0.10");
    const said = linesOf(asking);

    const refusal = await next(said, /refused/);
    t.regex(refusal, /^server at 10\.77\.0\.66 refused: .*key/);
    const key = await firstLine(
      server.start(process.execPath, responder, keys, "lan", "10.77.0.1", "right"),
    );
    t.is(key, serverKey);
    t.is(await next(said, /^found/), "found right at https://10.77.0.1:8443");
    t.notRegex(node.run("ip", "route"), /default/);
  },
);

lab("H74: where multicast is dropped the server is found by unicast", async (t) => {
  const [node, server] = segment(t);
  const keys = join(temporaryDirectory(t), "keys");
  const { serverKey } = await openSite(keys);
  const rules = [
    "add table inet lose",
    "add chain inet lose in { type filter hook input priority 0; }",
    "add rule inet lose in meta pkttype multicast udp dport 1337 drop",
  ];
  server.run("/usr/sbin/nft", rules.join("\n"));
  const responder = new URL("responder-child.ts", import.meta.url).pathname;
  await firstLine(server.start(process.execPath, responder, keys, "lan", "10.77.0.1", "right"));
  const child = new URL("discover-child.ts", import.meta.url).pathname;
  const begun = performance.now();
  const words = [child, serverKey, "lan", "10.77.0.10"];
  const asking = node.start(process.execPath, ...words, "10.77.0.1");
  t.is(await next(linesOf(asking), /^found/), "found right at https://10.77.0.1:8443");
  t.log(`${((performance.now() - begun) / 1000).toFixed(1)} s, process start included`);
  // Without the address in its boot files it is not.
  const lost = linesOf(node.start(process.execPath, ...words));
  t.regex(await next(lost, /./), /^no server has answered yet on 10\.77\.0\.10/);
});

/** Node, server and stranger behind one bridge. */
function segment(t: ExecutionContext): readonly [Namespace, Namespace, Namespace] {
  const bridge = namespace(t, "rs");
  ip("-n", bridge.name, "link", "add", "br0", "type", "bridge");
  ip("-n", bridge.name, "link", "set", "br0", "up");
  const member = (prefix: string, number: number, address: string) => {
    const one = namespace(t, prefix);
    cable(
      { in: bridge, name: `port${number}` },
      { in: one, name: "lan", mac: `52:54:00:b6:00:0${number}` },
    );
    ip("-n", bridge.name, "link", "set", `port${number}`, "master", "br0");
    ip("-n", one.name, "address", "add", `${address}/24`, "dev", "lan");
    return one;
  };
  return [
    member("rn", 1, "10.77.0.10"),
    member("rv", 2, "10.77.0.1"),
    member("rx", 3, "10.77.0.66"),
  ];
}

type Lines = AsyncIterator<string>;

function linesOf(child: { readonly stdout: NodeJS.ReadableStream | null }): Lines {
  if (!child.stdout) throw new RangeError("no standard output");
  return createInterface({ input: child.stdout })[Symbol.asyncIterator]();
}

async function firstLine(child: {
  readonly stdout: NodeJS.ReadableStream | null;
}): Promise<string> {
  return next(linesOf(child), /./);
}

async function next(lines: Lines, pattern: RegExp): Promise<string> {
  for (;;) {
    const { done, value } = await lines.next();
    if (done) throw new Error(`ended before a line matched ${pattern}`);
    if (pattern.test(value)) return value;
  }
}
