/**
 * A thousand strangers and ten thousand answers under other keys to every question (I78): the
 * agent finds its own server all the same. Prints how long it took; the bar is 10 s.
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

const strangers = 1000;
const firstStranger = 0x0400; // 10.77.4.0

const floods = [
  ["1,000 strangers answer each question", 1000, 0],
  ["10,000 false answers to each question", 10_000, 0],
  ["10,000 false answers to each question, its own in their midst", 10_000, 200],
  ["10,000 false answers to each question, its own after them", 10_000, 1500],
] as const;
for (const [title, answers, lateMs] of floods) {
  lab(`the right server is found: ${title}`, async (t) => {
    const { node, server, crowd } = segment(t);
    const keys = join(temporaryDirectory(t), "keys");
    const { serverKey, keyId } = await openSite(keys);
    const start = async (where: Namespace, file: string, ...words: string[]) => {
      const path = new URL(file, import.meta.url).pathname;
      const child = where.start(process.execPath, path, ...words);
      if (!child.stdout) throw new RangeError("no standard output");
      return createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    };
    const rogues = await start(
      crowd,
      "rogue-child.ts",
      ...["lan", String(firstStranger), String(strangers), String(answers), keyId],
    );
    await next(rogues, /^listening/);
    const right = [keys, "lan", "10.77.0.1", "right", String(lateMs)];
    await next(await start(server, "responder-child.ts", ...right), /./);
    const begun = performance.now();
    const asking = await start(node, "discover-child.ts", serverKey, "lan", "10.77.0.10");
    t.is(await next(asking, /^found/), "found right at https://10.77.0.1:8443");
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    t.log(`${seconds} s with ${answers} false answers to each question, process start included`);
    t.regex(await next(rogues, /^salvo/), new RegExp(`^salvo of ${answers}$`));
  });
}

lab("a thousand nodes that answer at once are all found", async (t) => {
  const { node, crowd } = segment(t);
  const keys = join(temporaryDirectory(t), "keys");
  await openSite(keys);
  const start = async (where: Namespace, file: string, ...words: string[]) => {
    const path = new URL(file, import.meta.url).pathname;
    const child = where.start(process.execPath, path, ...words);
    if (!child.stdout) throw new RangeError("no standard output");
    return createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  };
  const nodes = [keys, "lan", String(firstStranger), String(strangers)];
  await next(await start(crowd, "crowd-child.ts", ...nodes), /^listening/);
  const words = ["--max", String(strangers), "--timeout", "40", "--retries", "9"];
  const found = await next(await start(node, "search-child.ts", keys, ...words), /found|in/);
  t.log(found);
  t.regex(found, /^1000 in \d+ ms, 0 refused$/);
});

/** Node, server and a crowd behind one bridge, in 10.77.0.0/16. */
function segment(t: ExecutionContext) {
  const bridge = namespace(t, "fb");
  ip("-n", bridge.name, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0");
  ip("-n", bridge.name, "link", "set", "br0", "up");
  const member = (prefix: string, number: number, addresses: readonly string[]) => {
    const one = namespace(t, prefix);
    const mac = `52:54:00:f1:00:0${number}`;
    cable({ in: bridge, name: `port${number}` }, { in: one, name: "lan", mac });
    ip("-n", bridge.name, "link", "set", `port${number}`, "master", "br0");
    // Nobody answers by another way than the flood's.
    one.run("sysctl", "-qw", "net.ipv6.conf.lan.disable_ipv6=1");
    const lines = addresses.map((address) => `address add ${address}/16 dev lan\n`).join("");
    const made = spawnSync("ip", ["-n", one.name, "-batch", "-"], { input: lines });
    t.is(made.status, 0, String(made.stderr));
    return one;
  };
  const crowd = Array.from({ length: strangers }, (_, index) => {
    const number = firstStranger + index;
    return `10.77.${number >> 8}.${number & 255}`;
  });
  return {
    node: member("fn", 1, ["10.77.0.10"]),
    server: member("fs", 2, ["10.77.0.1"]),
    crowd: member("fc", 3, crowd),
  };
}

async function next(lines: AsyncIterator<string>, pattern: RegExp): Promise<string> {
  for (;;) {
    const { done, value } = await lines.next();
    if (done) throw new Error(`ended before a line matched ${pattern}`);
    if (pattern.test(value)) return value;
  }
}
