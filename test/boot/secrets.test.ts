/**
 * C26, C34, P7: nothing secret in any boot artefact, for anyone who asks.
 *
 * A server whose state is full of secrets serves every name there is, to every peer, by TFTP and
 * HTTP. The one exception is a node's own enrolment token, in its own kernel line.
 */

import { createHash, randomBytes } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { type Ipv4Address, instant, type MacAddress, parseIpv4Address } from "#protocol/brand.ts";
import { firmwareNames } from "#protocol/firmware.ts";
import type { BootFile } from "../../server/boot/file.ts";
import { loaderNames } from "../../server/boot/loaders.ts";
import { netinstParts } from "../../server/boot/netinst.ts";
import { listFirmwareFiles } from "../../server/boot/pi-files.ts";
import { createBoot } from "../../server/boot/profile.ts";
import { scriptName } from "../../server/boot/script.ts";
import { parseConfig } from "../../server/config.ts";
import { openSite } from "../../server/enrol/authority.ts";
import { createWindows } from "../../server/enrol/token.ts";
import { createEventBus } from "../../server/events.ts";
import { silentLog } from "../../server/log.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { addresses, client, node, pc, pi3, pi4, server, writeArtefacts } from "./setup.ts";

const stranger = parseIpv4Address("10.77.0.99");
const owners = [pi3, pi4, pc] as const;
const peers: readonly (readonly [Ipv4Address, MacAddress | undefined])[] = [
  ...owners.map((mac) => [addresses[mac] ?? stranger, mac] as const),
  [stranger, undefined],
];
const serialOf = (mac: MacAddress) => mac.replaceAll(":", "").slice(4);

/** A server with secrets in every place it has, and what they look like. */
async function fullOfSecrets(t: ExecutionContext) {
  const directory = temporaryDirectory(t);
  writeArtefacts(directory);
  const keys = join(directory, "keys");
  const site = await openSite(keys);
  const store = openSqliteStore(join(directory, "marcoboot.db"));
  t.teardown(() => store.close());
  const canary = () => randomBytes(16).toString("hex");
  const [password, apiToken, outlet, ticketKey] = [canary(), canary(), canary(), canary()];
  const created = { createdAt: instant(1) };
  store.users.put({ name: "ada", password, role: "admin", ...created });
  store.apiTokens.put({ hash: apiToken, user: "ada", name: "ci", ...created });
  store.settings.put("image-ticket-key", ticketKey);
  const power = { driver: "ipmi", settings: { password: outlet } };
  store.racks.put({ name: "lab", stacks: [{ name: "a", x: 0, y: 0, outlet: power, slots: [] }] });
  writeFileSync(join(directory, "notes.txt"), `${password} ${apiToken} ${outlet} ${ticketKey}`);
  const config = parseConfig(
    [
      "netinstDirectory: netinst",
      "loadersDirectory: loaders",
      "subnets: [{ cidr: 10.77.0.0/24, interface: lan0, reserved: [10.77.0.10, 10.77.0.99] }]",
    ].join("\n"),
    join(directory, "marcoboot.yaml"),
  );
  const windows = createWindows({ store, clock: createFakeClock(), config, log: silentLog });
  for (const mac of owners) {
    store.nodes.put(node(mac, { id: `node_${serialOf(mac)}` as never, name: `n${serialOf(mac)}` }));
    windows.open(mac, "power-on");
  }
  const macs = new Map(peers);
  const boot = createBoot({
    config,
    store,
    leases: { macOf: (address) => macs.get(address) },
    windows,
    site,
    images: { bootFilesOf: () => directory },
    servers: [server],
    events: createEventBus(silentLog),
    log: silentLog,
  });
  for (const [mac, firmware] of [
    [pi3, "raspberry-pi-3"],
    [pi4, "raspberry-pi-4"],
    [pc, "bios-pxe"],
  ] as const) {
    boot.reply(client(mac, { firmware, serial: serialOf(mac) }), server);
  }
  const pem = readdirSync(keys)
    .filter((name) => name.endsWith(".key"))
    .flatMap((name) => readFileSync(join(keys, name), "utf8").split("\n"))
    .filter((line) => line.length > 0 && !line.startsWith("-----"));
  const secrets = [password, apiToken, outlet, ticketKey, ...pem];
  const tokens = new Map(owners.map((mac) => [mac, windows.tokenFor(mac) ?? t.fail("no token")]));
  return { directory, boot, secrets, tokens, config, site };
}

/** Every name of the tables of boot files, for every node. */
function namesOfTables(loadersDirectory: string): readonly string[] {
  const ofNode = (mac: MacAddress) => {
    const dashed = mac.replaceAll(":", "-");
    const piNames = [
      ...listFirmwareFiles(loadersDirectory),
      ...["config.txt", "cmdline.txt", "kernel8.img", "initrd.img", "overlays/disable-bt.dtbo"],
    ];
    return [
      scriptName(mac),
      `grub/node/${mac}/grub.cfg`,
      ...piNames.flatMap((name) => [name, `${serialOf(mac)}/${name}`, `${dashed}/${name}`]),
    ];
  };
  return [
    ...owners.flatMap(ofNode),
    ...loaderNames.flatMap((name) => [name, `boot/loaders/${name}`]),
    ...["amd64", "arm64"].flatMap((one) =>
      netinstParts.map((part) => `boot/netinst/${one}/${part}`),
    ),
    "grub/grub.cfg",
  ];
}

/** What a thief would try: every file of the server, by every way out of the tables. */
function namesOfState(directory: string): readonly string[] {
  const files = readdirSync(directory, { recursive: true, encoding: "utf8" });
  return files.flatMap((name) => [
    ...[name, `../${name}`, `/${name}`, `boot/${name}`, `boot/loaders/../../${name}`],
    ...[`overlays/../../${name}`, `boot/netinst/amd64/../../../${name}`, join(directory, name)],
  ]);
}

interface Served {
  readonly name: string;
  readonly protocol: "tftp" | "http";
  readonly to: MacAddress | undefined;
  readonly text: string;
}

function serveAll({
  boot,
  directory,
  config,
}: Awaited<ReturnType<typeof fullOfSecrets>>): Served[] {
  const textOf = (file: BootFile) => Buffer.from(file.bytes()).toString("latin1");
  const names = [...namesOfTables(config.loadersDirectory), ...namesOfState(directory)];
  return [...new Set(names)].flatMap((name) =>
    peers.flatMap(([address, to]) =>
      (["tftp", "http"] as const).flatMap((protocol) => {
        const file = boot.files.open(name, { address, protocol });
        return file ? [{ name, protocol, to, text: textOf(file) }] : [];
      }),
    ),
  );
}

test("C34: no file that is served to anyone holds a secret of the server", async (t) => {
  const full = await fullOfSecrets(t);
  const served = serveAll(full);
  t.log(`${served.length} files served`);
  t.true(served.length > 200);
  const leaks = served.filter(({ text }) => full.secrets.some((secret) => text.includes(secret)));
  t.deepEqual(leaks, []);
});

test("P7: a node's enrolment token is in its own files only, and only for its own address", async (t) => {
  const full = await fullOfSecrets(t);
  const served = serveAll(full);
  for (const [mac, token] of full.tokens) {
    const holding = served.filter(({ text }) => text.includes(token));
    t.true(holding.length > 0);
    t.deepEqual(
      holding.filter(({ to }) => to !== mac),
      [],
    );
    const own = [mac, mac.replaceAll(":", "-"), serialOf(mac), "cmdline.txt", "grub/grub.cfg"];
    t.deepEqual(
      holding.filter(({ name }) => !own.some((part) => name.includes(part))),
      [],
    );
  }
});

test("C27: a board gets nothing from another board's directory", async (t) => {
  const served = serveAll(await fullOfSecrets(t));
  const foreign = served.filter(
    ({ name, to }) =>
      to !== undefined &&
      owners.some(
        (mac) =>
          mac !== to && new RegExp(`^(?:${serialOf(mac)}|${mac.replaceAll(":", "-")})/`).test(name),
      ),
  );
  // A Raspberry Pi 4 that did not tell its serial may have any: here all did.
  t.deepEqual(foreign, []);
});

test("B17: nothing outside of the tables is served, whatever its name", async (t) => {
  const full = await fullOfSecrets(t);
  const known = new Set(namesOfTables(full.config.loadersDirectory));
  const served = serveAll(full).filter(({ name }) => !known.has(name));
  t.deepEqual(served, []);
});

test("a DHCP reply holds no secret and no token, whatever the firmware", async (t) => {
  const { boot, secrets, tokens } = await fullOfSecrets(t);
  const replies = firmwareNames.flatMap((firmware) =>
    owners.map((mac) => JSON.stringify(boot.reply(client(mac, { firmware }), server) ?? {})),
  );
  const told = [...secrets, ...tokens.values()].filter((secret) =>
    replies.some((reply) => reply.includes(secret)),
  );
  t.deepEqual(told, []);
});

test("the initramfs pins the server by its public key, and carries nothing else of the site", async (t) => {
  const { boot, site } = await fullOfSecrets(t);
  const initrd = boot.files.open("boot/netinst/amd64/initrd", {
    address: stranger,
    protocol: "http",
  });
  const text = Buffer.from(initrd?.bytes() ?? []).toString("latin1");
  const files = [...text.matchAll(/etc\/marcoboot\/[\w.-]+/g)].map(([name]) => name);
  t.deepEqual(
    files,
    ["site.json", "stage2.sha256", "stage2.size"].map((name) => `etc/marcoboot/${name}`),
  );
  const json = JSON.parse(/\{"serverKey".*\}\n/.exec(text)?.[0] ?? "{}") as Record<string, unknown>;
  t.deepEqual(Object.keys(json), ["serverKey", "stage2", "discovery"]);
  t.is(json["serverKey"], site.serverKey);
  const raw = Buffer.from(site.serverKey, "base64");
  t.is(createHash("sha256").update(raw).digest("hex").slice(0, 16), site.keyId);
});
