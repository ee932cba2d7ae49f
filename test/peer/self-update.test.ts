/**
 * An installed system's agent replaces itself: real agent processes from real squashfs files, started
 * by the script that starts them on a node. Root, loop devices and squashfs-tools are needed.
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import type { Node } from "#protocol/node.ts";
import { saveIdentity } from "../../netinst/enrol.ts";
import { bundleAgent } from "../../netinst/initramfs/stage2.ts";
import { openRootTree } from "../../netinst/root-tree.ts";
import { startAgentAtBoot } from "../../netinst/steps/resident-service.ts";
import { macA, startServer } from "../agent/agent-peer.ts";
import { sha256 } from "../netinst/support.ts";
import { freeUdpPort } from "../support/free-udp-port.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const version = 'agentVersion = "0.1.0"';

function command(program: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program, [...args], { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr} ${error ?? ""}`);
}

/** Squashfs files of the agent in several versions, and of one that does not work. */
async function makePrograms(t: ExecutionContext, words: readonly string[]) {
  const directory = temporaryDirectory(t);
  await bundleAgent(join(directory, "bundle"));
  const bundle = readFileSync(join(directory, "bundle/agent.mjs"), "utf8");
  t.true(bundle.includes(version));
  const pack = (name: string, run: string, agent: string): Buffer => {
    const tree = join(directory, name);
    mkdirSync(tree);
    writeFileSync(join(tree, "run"), run, { mode: 0o755 });
    writeFileSync(join(tree, "agent.mjs"), agent);
    const output = `${tree}.squashfs`;
    command("mksquashfs", [tree, output, "-noappend", "-quiet", "-no-progress", "-comp", "gzip"]);
    return readFileSync(output);
  };
  const run = `#!/bin/sh\nexec ${process.execPath} "$(dirname "$0")/agent.mjs" ${words.join(" ")} "$@"\n`;
  return {
    of: (name: string) => pack(name, run, bundle.replace(version, `agentVersion = "${name}"`)),
    broken: pack("broken", "#!/bin/sh\nexit 1\n", ""),
  };
}

/** Empty for what has ended meanwhile. */
function wordsOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

/** Ends the agent that `start` runs at the moment; it is started again. */
function endAgent(start: ChildProcess): void {
  const { pid } = start;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
  for (const child of children) {
    if (wordsOf(child).includes("agent.mjs")) process.kill(Number(child));
  }
}

test("a resident agent becomes another version, and goes back from one that does not call", async (t) => {
  t.timeout(300_000);
  const server = await startServer(t);
  const { credential } = await server.enrolled(macA);
  const root = temporaryDirectory(t);
  mkdirSync(join(root, "usr/lib/systemd"), { recursive: true });
  writeFileSync(join(root, "usr/lib/systemd/systemd"), "");
  startAgentAtBoot(openRootTree(root));
  const home = join(root, "var/lib/marcoboot");
  const identity = join(home, "identity");
  mkdirSync(join(home, "agent"));
  mkdirSync(join(home, "services"));
  saveIdentity(identity, { key: credential.key, certificate: credential.cert });
  const discovery = { group: "239.77.65.82", port: await freeUdpPort() };
  writeFileSync(
    join(identity, "site.json"),
    JSON.stringify({ serverKey: server.site.serverKey, discovery, mac: macA }),
  );
  writeFileSync(join(home, "authority.pem"), server.site.authorityPem);
  const programs = await makePrograms(t, [
    ...["--identity-dir", identity, "--interface", "lo", "--address", "127.0.0.1"],
    ...["--server-url", `https://127.0.0.1:${server.listener.port}`],
    ...["--authority", join(home, "authority.pem"), "--services", join(home, "services")],
    ...["--boot-id", "boot-1", "--simulate"],
  ]);
  const [first, second] = [programs.of("0.1.1"), programs.of("0.2.0")];
  const offer = (program: Buffer) => {
    const directory = join(server.netinstDirectory, "amd64");
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, "agent.squashfs"), program);
    const sizes = { kernelBytes: 1, stage1Bytes: 1, stage2Bytes: program.length };
    const described = { arch: "amd64", kernelVersion: "6", ...sizes };
    writeFileSync(
      join(directory, "netinst.json"),
      JSON.stringify({ ...described, stage2Digest: sha256(program) }),
    );
    server.clock.advance(60_000); // it is read again
  };
  let said = "";
  const until = async (what: string, holds: (node: Node) => boolean) => {
    for (let turn = 0; turn < 1200; turn++) {
      const node = server.nodes.byMac(macA);
      if (node && holds(node)) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    t.fail(`${what}: ${said}`);
  };
  writeFileSync(join(home, "agent.squashfs"), first);
  const start = spawn("sh", [join(home, "start")], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, MARCOBOOT_HOME: home, MARCOBOOT_TRIAL_SECONDS: "90" },
  });
  start.stderr.on("data", (part: Buffer) => {
    said += part.toString();
  });
  const stop = async () => {
    start.kill("SIGTERM");
    if (start.exitCode === null) await once(start, "exit");
  };
  t.teardown(stop);

  await until("the first version calls", ({ agent }) => agent?.version === "0.1.1");
  t.is(server.nodes.byMac(macA)?.agent?.program?.digest, sha256(first));
  offer(second);
  endAgent(start); // its next check-in is some minutes away
  await until("the second version calls", ({ agent }) => agent?.version === "0.2.0");
  const files = () => readdirSync(home).filter((name) => /squashfs|next|tried/.test(name));
  await until("it is kept", () => files().length === 1);
  t.true(readFileSync(join(home, "agent.squashfs")).equals(second));

  offer(programs.broken);
  endAgent(start);
  const digest = sha256(programs.broken);
  await until(
    "the second version goes on",
    ({ agent }) => agent?.program?.tried?.digest === digest,
  );
  t.like(server.nodes.byMac(macA)?.agent, {
    version: "0.2.0",
    program: { digest: sha256(second), tried: { times: 1 } },
  });
  t.deepEqual(files().toSorted(), ["agent.squashfs", "tried.json"]);
  t.regex(said, /the new agent did not call: going on with the one before/);
  await stop();
  t.false(readFileSync("/proc/mounts", "utf8").includes(home), "nothing stays mounted");
});
