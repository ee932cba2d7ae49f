import { mkdirSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import test from "ava";
import { parseIpv4Address } from "#protocol/brand.ts";
import { backupCheck } from "../../server/doctor/checks/backup.ts";
import { bootFilesCheck } from "../../server/doctor/checks/boot-files.ts";
import { capabilitiesCheck } from "../../server/doctor/checks/capabilities.ts";
import { clockCheck } from "../../server/doctor/checks/clock.ts";
import { diskCheck } from "../../server/doctor/checks/disk.ts";
import { firewallCheck } from "../../server/doctor/checks/firewall.ts";
import { interfacesCheck } from "../../server/doctor/checks/interfaces.ts";
import { othersCheck } from "../../server/doctor/checks/others.ts";
import { portsCheck } from "../../server/doctor/checks/ports.ts";
import { redisCheck } from "../../server/doctor/checks/redis.ts";
import { examine, runningServer } from "../../server/doctor/doctor.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { codesOf, contextOf, eth1, machineOf, short, type Tree, type World } from "./machine.ts";

const interfaces: readonly (readonly [title: string, world: World, codes: readonly string[]])[] = [
  ["a healthy interface", {}, ["ok interface"]],
  ["none of that name", { tree: {} }, ["problem interface-missing"]],
  ["down", { tree: { ...eth1, "sys/class/net/eth1/flags": "0x1002" } }, ["problem interface-down"]],
  [
    "without a cable",
    { tree: { ...eth1, "sys/class/net/eth1/carrier": "0" } },
    ["problem no-carrier"],
  ],
  ["without an address", { address: "" }, ["problem no-address"]],
  ["an address of another subnet", { address: "10.78.0.1" }, ["problem address-outside"]],
  ["an address that is handed out", { address: "10.77.0.10" }, ["problem address-handed-out"]],
  [
    "a small MTU, half duplex and damaged frames",
    {
      tree: {
        ...eth1,
        "sys/class/net/eth1/mtu": "1400",
        "sys/class/net/eth1/duplex": "half",
        "sys/class/net/eth1/statistics/rx_errors": "5000",
      },
    },
    ["hint small-mtu", "hint half-duplex", "hint link-errors"],
  ],
];
for (const [title, world, codes] of interfaces) {
  test(`interface: ${title}`, async (t) => {
    t.deepEqual(await codesOf(interfacesCheck, contextOf(t, world)), codes);
  });
}

/** UDP port 67 (0x43) on any address, held by process 812. */
function held(command: string, comm: string): Tree {
  return {
    ...eth1,
    "proc/net/udp":
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
      "  12: 00000000:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 777 2 0 0",
    "proc/812/fd/4": "-> socket:[777]",
    "proc/812/cmdline": command.replaceAll(" ", "\0"),
    "proc/812/comm": comm,
    "proc/812/cgroup": "0::/system.slice/dnsmasq.service",
  };
}
const dnsmasq = held("/usr/sbin/dnsmasq -k", "dnsmasq");
const marcoboot = held("node /opt/marcoboot/server/cli/main.ts serve", "node");

test("a port that another program has is told with its name and how to stop it", async (t) => {
  const [finding] = await portsCheck.examine(contextOf(t, { tree: dnsmasq }));
  t.like(finding, {
    severity: "problem",
    code: "port-taken",
    text: "UDP port 67 (DHCP) is taken by dnsmasq (process 812)",
  });
  t.regex(finding?.remedy ?? "", /systemctl disable --now dnsmasq\.service/);
});

test("ports that a running marcoboot has are as they should be", async (t) => {
  const [finding] = await portsCheck.examine(contextOf(t, { tree: marcoboot }));
  t.is(finding?.severity, "ok");
  t.regex(finding?.text ?? "", /held by marcoboot/);
});

test("a port on another address, and a TCP connection, are in nobody's way", async (t) => {
  const loopback = dnsmasq["proc/net/udp"]?.replace("00000000:0043", "0100007F:0043") ?? "";
  const connection =
    "  sl  local_address rem_address   st\n   0: 00000000:1F90 0100007F:0043 01 0:0 00:0 0 0 0 778";
  const tree = { ...dnsmasq, "proc/net/udp": loopback, "proc/net/tcp": connection };
  t.deepEqual(await codesOf(portsCheck, contextOf(t, { tree })), ["ok ports"]);
});

test("the server is found by its DHCP port", (t) => {
  t.is(runningServer(machineOf(t, { tree: marcoboot }), 67), 812);
  t.is(runningServer(machineOf(t, { tree: dnsmasq }), 67), undefined);
});

const capabilities = [
  ["all", "000001ffffffffff", ["ok capabilities"]],
  ["those of its unit", "0000000000003400", ["ok capabilities"]],
  ["all but CAP_NET_ADMIN", "0000000000002400", ["hint capability-missing"]],
  [
    "none",
    "0000000000000000",
    ["problem", "problem", "hint"].map((one) => `${one} capability-missing`),
  ],
] as const;
for (const [title, mask, codes] of capabilities) {
  test(`capabilities: ${title}`, async (t) => {
    const tree = { ...eth1, "proc/self/status": `Name:\tnode\nCapEff:\t${mask}` };
    t.deepEqual(await codesOf(capabilitiesCheck, contextOf(t, { tree })), [...codes]);
  });
}

test("of a server that runs, its own capabilities count", async (t) => {
  const tree = {
    ...eth1,
    "proc/self/status": "CapEff:\t0000000000000000",
    "proc/812/status": "CapEff:\t000001ffffffffff",
  };
  const context = contextOf(t, { tree, server: { kind: "other", pid: 812 } });
  t.deepEqual(await codesOf(capabilitiesCheck, context), ["ok capabilities"]);
});

const chain = { family: "inet", table: "filter", name: "input", hook: "input" };
const firewalls = [
  [
    "that drops by policy",
    JSON.stringify({ nftables: [{ chain: { ...chain, policy: "drop" } }] }),
    ["hint firewall"],
  ],
  [
    "that accepts",
    JSON.stringify({ nftables: [{ chain: { ...chain, policy: "accept" } }] }),
    ["ok firewall"],
  ],
  ["none", JSON.stringify({ nftables: [{ metainfo: {} }] }), ["ok firewall"]],
  ["that speaks another language", "table inet filter {", ["ok firewall"]],
] as const;
for (const [title, text, codes] of firewalls) {
  test(`firewall: ${title}`, async (t) => {
    const tree = { ...eth1, "proc/self/status": "CapEff:\t000001ffffffffff" };
    const context = contextOf(t, { tree, programs: { nft: text } });
    t.deepEqual(await codesOf(firewallCheck, context), [...codes]);
    const powerless = contextOf(t, { programs: { nft: text } });
    t.deepEqual(await codesOf(firewallCheck, powerless), []);
  });
}

test("what the running server has heard of others is told by the mode of the subnet", async (t) => {
  const heard = [
    { interface: "eth1", kind: "dhcp", address: parseIpv4Address("10.77.0.9") },
    { interface: "eth1", kind: "proxy-dhcp", address: parseIpv4Address("10.77.0.8") },
    { interface: "eth2", kind: "dhcp", address: parseIpv4Address("10.78.0.9") },
  ] as const;
  const codesIn = (mode: string, list: typeof heard | readonly []) =>
    codesOf(
      othersCheck,
      contextOf(t, {
        settings: `subnets: [{ cidr: 10.77.0.0/24, interface: eth1, mode: ${mode}, reserved: [10.77.0.10, 10.77.0.99] }]`,
        server: { kind: "this", heard: list },
      }),
    );
  t.deepEqual(await codesIn("reservation", heard), ["problem other-dhcp", "problem other-proxy"]);
  t.deepEqual(await codesIn("proxy", heard), ["ok other-dhcp", "problem other-proxy"]);
  t.deepEqual(await codesIn("reservation", []), ["ok no-other-dhcp"]);
  t.deepEqual(await codesIn("proxy", []), ["problem no-dhcp-server"]);
});

test("beside a running server nobody else asks the wire", async (t) => {
  const context = contextOf(t, { server: { kind: "other", pid: 812 } });
  t.deepEqual(await codesOf(othersCheck, context), ["hint others-not-asked"]);
});

test("a clock that is behind the journal, or was never set, is told", async (t) => {
  const context = contextOf(t, {});
  const journal = join(context.config.stateDirectory, "marcoboot.db");
  writeFileSync(journal, "");
  const inAnHour = Date.now() / 1000 + 3600;
  utimesSync(journal, inAnHour, inAnHour);
  t.deepEqual(await codesOf(clockCheck, context), ["problem clock-went-back"]);
  const unset = { ...context, clock: { ...context.clock, now: () => 86_400_000 as never } };
  t.deepEqual(await codesOf(clockCheck, unset), ["problem clock-wrong"]);
});

test("the kernel says whether anything keeps the clock right", async (t) => {
  const [code] = await codesOf(clockCheck, contextOf(t, {}));
  t.regex(code ?? "", /^(?:ok clock|hint clock-not-synchronised)$/);
});

test("a server that was never backed up, or long ago, is told so; one without a journal is not", async (t) => {
  const stateDirectory = temporaryDirectory(t);
  const context = contextOf(t, {});
  const config = { ...context.config, stateDirectory };
  const codes = () => codesOf(backupCheck, { ...context, config });
  t.deepEqual(await codes(), []);
  writeFileSync(join(stateDirectory, "marcoboot.db"), "");
  t.deepEqual(await codes(), ["hint backup-none"]);
  const note = join(stateDirectory, "backed-up");
  writeFileSync(note, "/mnt/nas/rack.backup\n");
  const seconds = context.clock.now() / 1000;
  utimesSync(note, seconds, seconds);
  t.deepEqual(await codes(), ["ok backup"]);
  utimesSync(note, seconds, seconds - 8 * 86_400);
  t.deepEqual(await codes(), ["hint backup-old"]);
});

test("a disk with room that keeps what is written is told in numbers", async (t) => {
  const findings = await diskCheck.examine(
    contextOf(t, {
      settings: `subnets: [{ cidr: 10.77.0.0/24, interface: eth1, reserved: [10.77.0.10, 10.77.0.99] }]`,
    }),
  );
  t.regex(
    findings.map(({ text }) => text).join("\n"),
    /free[\s\S]*a small write is on the disk after [\d.]+ ms/,
  );
});

test("a state directory nobody can write to is a problem", async (t) => {
  const context = contextOf(t, {});
  const config = { ...context.config, stateDirectory: "/proc" };
  const codes = await codesOf(diskCheck, { ...context, config });
  t.true(codes.includes("problem disk-not-writable"));
});

test("a configured Redis must answer; one that wants a password does", async (t) => {
  const answers = ["+PONG\r\n", "-NOAUTH Authentication required.\r\n", "HTTP/1.1 400\r\n"];
  const server = createServer(
    (socket) => void socket.on("data", () => socket.end(answers.shift() ?? "")),
  );
  t.teardown(() => void server.close());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const context = contextOf(t, {});
  const at = (redisUrl: string) =>
    codesOf(redisCheck, { ...context, config: { ...context.config, redisUrl } });
  const url = `redis://:secret@127.0.0.1:${port}`;
  t.deepEqual(await at(url), ["ok redis"]);
  t.deepEqual(await at(url), ["ok redis"]);
  t.deepEqual(await at(url), ["problem redis-silent"]);
  t.deepEqual(await at("unix:///nonexistent/redis.sock"), ["problem redis-silent"]);
  const [finding] = await redisCheck.examine({
    ...context,
    config: { ...context.config, redisUrl: "redis://:secret@127.0.0.1:1" },
  });
  t.notRegex(finding?.text ?? "", /secret/);
});

test("our own Redis is asked while a server runs, and looked for while none does", async (t) => {
  const context = contextOf(t, { server: { kind: "other", pid: 812 } });
  const directory = join(context.config.stateDirectory, "redis");
  mkdirSync(directory);
  const server = createServer((socket) => void socket.on("data", () => socket.end("+PONG\r\n")));
  await new Promise<void>((resolve) => server.listen(join(directory, "redis.sock"), resolve));
  const [running] = await redisCheck.examine(context);
  t.regex(running?.text ?? "", /answers at .*redis\.sock$/);
  await new Promise<void>((resolve) => void server.close(() => resolve()));
  const [stopped] = await redisCheck.examine({ ...context, server: { kind: "none" } });
  t.regex(stopped?.text ?? "", /redis-server/);
});

test("boot loaders, Raspberry Pi files and the netinst are looked for by name", async (t) => {
  const context = contextOf(t, {});
  const { loadersDirectory, netinstDirectory } = context.config;
  t.deepEqual(await codesOf(bootFilesCheck, context), [
    "problem loaders-missing",
    "hint raspberry-pi-files-missing",
    "problem netinst-missing",
  ]);
  mkdirSync(join(loadersDirectory, "raspberry-pi"), { recursive: true });
  for (const name of ["bootcode.bin", "start.elf", "start4.elf"]) {
    writeFileSync(join(loadersDirectory, "raspberry-pi", name), "x");
  }
  writeFileSync(join(loadersDirectory, "undionly.kpxe"), "x");
  mkdirSync(join(netinstDirectory, "amd64"), { recursive: true });
  for (const name of ["kernel", "stage1.cpio.zst", "agent.squashfs"]) {
    writeFileSync(join(netinstDirectory, "amd64", name), "x");
  }
  t.deepEqual(await codesOf(bootFilesCheck, context), ["hint loaders-missing", "ok netinst"]);
  truncateSync(join(loadersDirectory, "raspberry-pi", "start4.elf"), 65535 * 1024);
  t.deepEqual(await codesOf(bootFilesCheck, context), [
    "hint loaders-missing",
    "ok netinst",
    "problem file-too-large",
  ]);
});

test("all checks together: in their order, and unhealthy by one problem", async (t) => {
  const context = contextOf(t, { tree: {}, server: { kind: "this", heard: [] } });
  const told: string[] = [];
  const { checks, isHealthy } = await examine(context, (name) => void told.push(name));
  t.false(isHealthy);
  t.deepEqual(told.slice(0, 3), ["interfaces", "ports", "capabilities"]);
  t.deepEqual(
    told,
    checks.map(({ name }) => name),
  );
  t.deepEqual(checks[0]?.findings.map(short), ["problem interface-missing"]);
});

test("a check that fails is a finding of its own", async (t) => {
  const context = contextOf(t, { tree: {} });
  const machine = {
    ...context.machine,
    list: () => {
      throw new Error("out of processes");
    },
  };
  const { checks } = await examine({ ...context, machine, server: { kind: "this", heard: [] } });
  const [failed] = checks.find(({ name }) => name === "interfaces")?.findings ?? [];
  t.like(failed, { code: "check-failed", severity: "hint" });
  t.regex(failed?.text ?? "", /out of processes/);
});
