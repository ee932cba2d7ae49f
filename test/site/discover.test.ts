/**
 * Discovery in both roles: the whole server and two resident agents, each in a namespace of its
 * own on one bridge, no default route anywhere. Asked from the server's machine by the command
 * line, and from a node by its agent.
 */

import { type ChildProcess, execFile, spawnSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import test, { type ExecutionContext } from "ava";
import type { NodeId } from "#protocol/brand.ts";
import { identityText } from "../../netinst/enrol.ts";
import type { Answerer } from "../../server/discovery/shared/query.ts";
import { openSite, type Site } from "../../server/enrol/authority.ts";
import { cable, ip, type Namespace, namespace } from "../support/namespaces.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const root = join(import.meta.dirname, "../..");
const run = promisify(execFile);
const blue = "224.0.0.113";

const missing =
  process.getuid?.() !== 0
    ? "root is needed for network namespaces"
    : ["redis-server", "/usr/sbin/nft"]
        .filter((name) => spawnSync(name, ["--version"]).status !== 0)
        .map((name) => `${name} is not installed`)[0];
const lab = missing ? test.skip : test.serial;
if (missing) console.warn(`skipped: ${missing}`);

interface Found extends Answerer {
  readonly who: string;
}

lab("server and nodes are found, by service, mesh and address family, on both sides", async (t) => {
  const segment = await startSegment(t);
  const { discover, nodeDiscover, nodes, server } = segment;
  const [first, second] = nodes;

  // Link-local addresses take a second or two until the kernel lets them be used.
  const hasIpv6 = ({ addresses }: Found) => addresses.some((one) => one.startsWith("fe80:"));
  await until(async () => (await discover(["--timeout", "0.5"])).filter(hasIpv6).length === 3);
  const all = ["server", "was node node_1", "was node node_2"];
  t.deepEqual(who(await discover(wait(3))), all);
  t.deepEqual(who(await discover(["marcoboot", "--timeout", "8"])), ["server"]);
  t.deepEqual(who(await discover(["marcoboot-node", ...wait(1)])).length, 1);

  // Meshes: the first node's service is offered in blue only.
  first.write("deployer", { id: "deployer", params: { port: 1342 }, groups: [blue] });
  const asked = ["deployer", "--group", blue, "--timeout", "0.5"];
  let deployer: Found | undefined;
  const answersByIpv4 = async () => {
    [deployer] = await discover(asked);
    return deployer?.addresses.includes("10.77.0.11") ?? false;
  };
  await until(answersByIpv4);
  t.deepEqual(deployer?.params, { port: 1342 });
  t.deepEqual(await discover(["deployer"]), []);
  t.deepEqual(await discover([...asked, "--exclude", "10.77.0.11"]), []);
  t.deepEqual(await discover([...asked, "--param", "port=1"]), []);

  // Service files are read again when they change; a hidden one stays hidden after SIGHUP.
  second.write("status", { id: "status" });
  await until(async () => (await discover(["status", "--timeout", "0.5"])).length === 1);
  second.write("status", { id: "status", disabled: true });
  await until(async () => (await discover(["status", "--timeout", "0.5"])).length === 0);
  second.child.kill("SIGHUP");
  t.deepEqual(await discover(["status", "--timeout", "1"]), []);

  // The first question is lost on its way: only who asks again is answered.
  second.write("status", { id: "status" });
  await until(async () => (await discover(["status", "--timeout", "2"])).length === 1);
  loseFirstQuestion(second.namespace);
  t.deepEqual(await discover(["status", "--retries", "0", "--timeout", "2"]), []);
  loseFirstQuestion(second.namespace);
  t.is((await discover(["status", "--retries", "1", "--timeout", "8", "--max", "1"])).length, 1);

  // The server takes SIGHUP as a wish to read its service files again, too.
  server.child.kill("SIGHUP");
  t.is((await nodeDiscover(first, ["marcoboot", ...wait(1)])).length, 1);
  t.notRegex(first.namespace.run("ip", "route"), /default/);

  // A node believes the server and other nodes; it has the authority from an earlier contact.
  const believed = ["node node_1", "node node_2", "server"];
  t.deepEqual(who(await nodeDiscover(first, wait(3))), believed);
  const list = await nodeDiscover(second, ["--services"]);
  const ids = list.map(({ services }) => services?.map(({ id }) => id).join(" "));
  t.true(ids.includes("marcoboot"), ids.join(", "));
});

/** Until so many have answered, however busy the machine is. */
const wait = (answers: number) => ["--max", `${answers}`, "--timeout", "30"];

function who(found: readonly Found[]): readonly string[] {
  return found.map((one) => one.who).sort();
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds()));
}

interface TestNode {
  readonly namespace: Namespace;
  readonly identity: string;
  readonly child: ChildProcess;
  /** A service file. */
  write(name: string, service: object): void;
}

async function startSegment(t: ExecutionContext) {
  const bridge = namespace(t, "db");
  ip("-n", bridge.name, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0");
  ip("-n", bridge.name, "link", "set", "br0", "up");
  const member = (prefix: string, number: number, address: string) => {
    const one = namespace(t, prefix);
    const mac = `52:54:00:d1:00:0${number}`;
    cable({ in: bridge, name: `port${number}` }, { in: one, name: "lan", mac });
    ip("-n", bridge.name, "link", "set", `port${number}`, "master", "br0");
    ip("-n", one.name, "address", "add", `${address}/24`, "dev", "lan");
    return one;
  };
  const directory = temporaryDirectory(t);
  const site = await openSite(join(directory, "state/keys"));
  const server = member("ds", 1, "10.77.0.1");
  const { environment, child } = await startServer(server, directory);
  const nodes = [
    await startNode(member("dn", 2, "10.77.0.11"), site, join(directory, "n1"), "node_1"),
    await startNode(member("dm", 3, "10.77.0.12"), site, join(directory, "n2"), "node_2"),
  ] as const;
  const ask = async (where: Namespace, words: readonly string[]): Promise<readonly Found[]> => {
    const command = ["netns", "exec", where.name, process.execPath, ...words, "--json"];
    const { stdout } = await run("ip", command, {
      env: { ...process.env, ...environment },
    }).catch((error: { code: number; stdout: string; stderr: string }) => {
      if (error.code === 5) return error; // nobody
      throw new Error(error.stderr);
    });
    return JSON.parse(stdout) as readonly Found[];
  };
  return {
    nodes,
    server: { namespace: server, child },
    discover: (words: readonly string[]) =>
      ask(server, [join(root, "server/cli/main.ts"), "discover", ...words]),
    nodeDiscover: (node: TestNode, words: readonly string[]) =>
      ask(node.namespace, [
        ...[join(root, "netinst/main.ts"), "discover"],
        ...["--identity-dir", node.identity, ...words],
      ]),
  };
}

/** @returns the environment in which the command line is signed in. */
async function startServer(where: Namespace, directory: string) {
  for (const name of ["netinst", "loaders"]) mkdirSync(join(directory, name));
  const config = join(directory, "server.yaml");
  writeFileSync(
    config,
    `stateDirectory: state
netinstDirectory: netinst
loadersDirectory: loaders
logLevel: error
discovery: { services: services }
subnets:
  - { cidr: 10.77.0.0/24, interface: lan, reserved: [10.77.0.10, 10.77.0.99] }
`,
  );
  const cli = join(root, "server/cli/main.ts");
  const child = where.start(process.execPath, cli, "serve", "--config", config);
  if (!child.stdout) throw new RangeError("no standard output");
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const code = await next(lines, /^set-up code: (?<found>\S+)$/);
  await next(lines, /^ready$/);
  const environment = {
    MARCOBOOT_STATE: join(directory, "state"),
    MARCOBOOT_TOKEN_FILE: join(directory, "token"),
  };
  const password = join(directory, "password");
  writeFileSync(password, "correct horse battery\n", { mode: 0o600 });
  await run(process.execPath, [cli, "setup", code, "--password-file", password], {
    env: { ...process.env, ...environment },
  });
  return { environment, child };
}

/** By IPv4; by IPv6 none comes through. */
function loseFirstQuestion(where: Namespace): void {
  const rules = [
    "add table inet lose",
    "delete table inet lose",
    "add table inet lose",
    "add chain inet lose in { type filter hook input priority 0; }",
    "add rule inet lose in meta nfproto ipv6 udp dport 1337 drop",
    // of the asker's: the agents look for their server meanwhile
    "add rule inet lose in ip saddr 10.77.0.1 udp dport 1337 limit rate 1/hour burst 1 packets drop",
  ];
  where.run("/usr/sbin/nft", rules.join("\n"));
}

async function startNode(
  where: Namespace,
  site: Site,
  directory: string,
  id: string,
): Promise<TestNode> {
  const identity = join(directory, "identity");
  const services = join(directory, "services");
  mkdirSync(identity, { recursive: true, mode: 0o700 });
  mkdirSync(services);
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const { pem } = await site.issueNodeCertificate(
    id as NodeId,
    publicKey.export({ type: "spki", format: "pem" }).toString(),
  );
  const key = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  writeFileSync(join(identity, "node.pem"), identityText({ key, certificate: pem }));
  writeFileSync(join(identity, "site.json"), JSON.stringify({ serverKey: site.serverKey }));
  const child = where.start(
    process.execPath,
    ...[join(root, "netinst/main.ts"), "--role", "resident", "--simulate"],
    ...["--identity-dir", identity, "--services", services],
    ...["--interface", "lan", "--cmdline", "quiet"],
  );
  return {
    namespace: where,
    identity,
    child,
    write(name, service) {
      rmSync(join(services, name), { force: true });
      writeFileSync(join(services, name), JSON.stringify(service));
    },
  };
}

/** The first line that fits, or what its group `found` holds. */
async function next(lines: AsyncIterator<string>, pattern: RegExp): Promise<string> {
  for (;;) {
    const { done, value } = await lines.next();
    if (done) throw new Error(`it ended without ${pattern}`);
    const fits = pattern.exec(value);
    if (fits) return fits.groups?.["found"] ?? value;
  }
}
