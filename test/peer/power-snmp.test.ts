/** The SNMP drivers against Debian's snmpd with tables of our own, on 127.0.0.1: versions 1, 2c and 3. */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { systemClock } from "../../server/clock.ts";
import { PowerRefusedError, PowerStuckError, PowerUnreachableError } from "../../server/errors.ts";
import { createEventBus } from "../../server/events.ts";
import { silentLog } from "../../server/log.ts";
import { poeSnmpDriver } from "../../server/power/drivers/poe-snmp.ts";
import { snmpPduDriver } from "../../server/power/drivers/snmp-pdu.ts";
import { createPower } from "../../server/power/power.ts";
import { driverNamed, erase } from "../../server/power/registry.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { type Bench, powerDriverContract } from "../power/contract.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { startSnmpd } from "./snmpd.ts";

const { signal } = new AbortController();
const apc = "1.3.6.1.4.1.318.1.1";
const poe = "1.3.6.1.2.1.105.1.1.1.3";

/** Objects there are, and what they are at first: everything off, but outlet 3, which is welded on. */
const objects: readonly (readonly [oid: string, value: number])[] = [
  ...[1, 3, 4, 5].flatMap((outlet): [string, number][] => [
    [`${apc}.12.3.3.1.1.4.${outlet}`, 2],
    [`${apc}.12.3.5.1.1.4.${outlet}`, outlet === 3 ? 1 : 2],
  ]),
  [`${apc}.26.9.2.4.1.5.5`, 2],
  [`${apc}.26.9.2.3.1.5.5`, 1],
  ["1.3.6.1.4.1.13742.6.4.1.2.1.2.1.5", 0],
  ["1.3.6.1.4.1.13742.6.4.1.2.1.3.1.5", 8],
  [`${poe}.1.12`, 2],
  [`${poe}.1.4`, 2],
];

interface Agent {
  readonly port: number;
  value(oid: string): number;
  contacts(): number;
}

const community = "canary-community";
const authKey = "canary-auth-key";
const privKey = "canary-priv-key";

function configuration(directory: string): readonly string[] {
  const table = `${process.execPath} ${new URL("outlet-table.ts", import.meta.url).pathname} ${directory}`;
  const roots = [`${apc}.12`, `${apc}.26.9.2`, "1.3.6.1.4.1.13742.6.4.1.2.1", "1.3.6.1.2.1.105"];
  return [
    `rwcommunity ${community} 127.0.0.1`,
    "rocommunity readonly 127.0.0.1",
    `createUser rack SHA ${authKey} AES ${privKey}`,
    `createUser shouting SHA-256 ${authKey}`,
    "rwuser rack priv",
    "rwuser shouting auth",
    ...roots.map((root) => `pass_persist .${root} ${table}`),
  ];
}

async function startAgent(t: ExecutionContext): Promise<Agent> {
  const directory = temporaryDirectory(t);
  const tables = join(directory, "tables");
  mkdirSync(tables);
  for (const [oid, value] of objects) writeFileSync(join(tables, oid), String(value));
  const port = await startSnmpd(t, directory, configuration(tables));
  const lines = (name: string) =>
    existsSync(join(tables, name))
      ? readFileSync(join(tables, name), "utf8").split("\n").length
      : 0;
  return {
    port,
    value: (oid) => Number(readFileSync(join(tables, oid), "utf8")),
    contacts: () => lines("reads") + lines("writes"),
  };
}

powerDriverContract("snmp-pdu", async (t): Promise<Bench> => {
  const agent = await startAgent(t);
  const settings = { host: "127.0.0.1", port: agent.port, community, outlet: "5" };
  return {
    driver: erase(snmpPduDriver),
    settings,
    silent: { ...settings, port: 9, community: "canary-nobody" },
    refusing: { ...settings, outlet: "4" },
    state: () => (agent.value(`${apc}.12.3.5.1.1.4.5`) === 1 ? "on" : "off"),
    contacts: agent.contacts,
  };
});

powerDriverContract("poe-snmp", async (t): Promise<Bench> => {
  const agent = await startAgent(t);
  const settings = {
    host: "127.0.0.1",
    port: agent.port,
    version: "3",
    user: "rack",
    authKey,
    privKey,
    portIndex: 12,
  };
  return {
    driver: erase(poeSnmpDriver),
    settings,
    silent: { ...settings, port: 9 },
    refusing: { ...settings, portIndex: 4 },
    state: () => (agent.value(`${poe}.1.12`) === 1 ? "on" : "off"),
    contacts: agent.contacts,
  };
});

test("presets know which integers mean on and off", async (t) => {
  const { port, value } = await startAgent(t);
  const presets = [
    ["apc-rpdu", `${apc}.12.3.5.1.1.4.5`, 1, 2],
    ["apc-rpdu2", `${apc}.26.9.2.3.1.5.5`, 2, 1],
    ["raritan-px", "1.3.6.1.4.1.13742.6.4.1.2.1.3.1.5", 7, 8],
  ] as const;
  for (const [preset, object, on, off] of presets) {
    const settings = snmpPduDriver.parse({
      host: "127.0.0.1",
      port,
      community,
      outlet: "5",
      preset,
    });
    await snmpPduDriver.set(settings, "on", signal);
    t.is(value(object), on, preset);
    t.is(await snmpPduDriver.query(settings, signal), "on", preset);
    await snmpPduDriver.set(settings, "off", signal);
    t.is(value(object), off, preset);
    t.is(await snmpPduDriver.query(settings, signal), "off", preset);
  }
});

test("versions 1 and 3, with and without encryption, switch a PDU described by its numbers", async (t) => {
  const { port } = await startAgent(t);
  const custom = {
    preset: "custom",
    controlColumn: `${apc}.12.3.3.1.1.4`,
    controlOn: 1,
    controlOff: 2,
    stateColumn: `${apc}.12.3.5.1.1.4`,
  };
  const ways = [
    { version: "1", community },
    { version: "3", user: "rack", authKey, privKey },
    { version: "3", user: "shouting", authProtocol: "sha256", privProtocol: "none", authKey },
  ];
  for (const way of ways) {
    const settings = snmpPduDriver.parse({
      host: "127.0.0.1",
      port,
      outlet: "1",
      ...custom,
      ...way,
    });
    for (const state of ["on", "off"] as const) {
      await snmpPduDriver.set(settings, state, signal);
      t.is(await snmpPduDriver.query(settings, signal), state);
    }
  }
});

test("no write access, no such outlet, a wrong key: refused or unreachable, with the agent's words", async (t) => {
  const { port } = await startAgent(t);
  const pdu = { host: "127.0.0.1", port, community, outlet: "5" };
  const refusals = [
    [{ ...pdu, community: "readonly" }, PowerRefusedError, /NoAccess/],
    [{ ...pdu, outlet: "77" }, PowerRefusedError, /NotWritable|NoCreation/],
    [{ ...pdu, outlet: "4" }, PowerRefusedError, /NotWritable/],
    [{ ...pdu, community: "unknown" }, PowerUnreachableError, /no answer: address, community/],
  ] as const;
  for (const [settings, instanceOf, message] of refusals) {
    await t.throwsAsync(snmpPduDriver.set(snmpPduDriver.parse(settings), "on", signal), {
      instanceOf,
      message,
    });
  }
  const user = { host: "127.0.0.1", port, version: "3", user: "rack", privKey, outlet: "5" };
  const error = await t.throwsAsync(
    snmpPduDriver.set(snmpPduDriver.parse({ ...user, authKey: "wrong-key-123" }), "on", signal),
  );
  t.regex(error?.message ?? "", /SNMP agent 127\.0\.0\.1: /);
  t.false(error?.message.includes("wrong-key"));
});

test("a welded outlet is found by asking after switching, and named", async (t) => {
  const { port } = await startAgent(t);
  const store = openSqliteStore(":memory:");
  const settings = { host: "127.0.0.1", port, community, outlet: "3" };
  const slots = [
    { name: "7", hostname: "r-a-7", outlet: { driver: "snmp-pdu", settings } },
    {
      name: "8",
      hostname: "r-a-8",
      outlet: { driver: "snmp-pdu", settings: { ...settings, outlet: "5" } },
    },
  ];
  store.racks.put({ name: "r", stacks: [{ name: "a", x: 0, y: 0, slots }] });
  const power = createPower({
    store,
    events: createEventBus(silentLog),
    clock: systemClock,
    log: silentLog,
    driver: driverNamed,
  });
  const slot = (name: string) => ({ rack: "r", stack: "a", slot: name });
  await t.throwsAsync(power.set(slot("7"), "off", "ada"), {
    instanceOf: PowerStuckError,
    message: "outlet of slot r/a/7 (snmp-pdu) was switched off and is still on",
  });
  await power.set(slot("8"), "on", "ada");
  t.is(await power.query(slot("8")), "on");
});
