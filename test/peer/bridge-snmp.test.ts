/** Where boards hang, asked of Debian's snmpd with the tables of a switch, on 127.0.0.1. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { parseMacAddress } from "#protocol/brand.ts";
import { parseConfig } from "../../server/config.ts";
import { openSwitches } from "../../server/enrol/learning/evidence/switches.ts";
import { ConfigurationError } from "../../server/errors.ts";
import { silentLog } from "../../server/log.ts";
import { parseRackFile } from "../../server/rack/rack-file.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { startSnmpd } from "./snmpd.ts";

const { signal } = new AbortController();
const community = "canary-community";
const one = parseMacAddress("dc:a6:32:00:00:01");
const other = parseMacAddress("dc:a6:32:00:00:02");
const absent = parseMacAddress("dc:a6:32:00:00:09");
const indexOf = (mac: string) =>
  mac
    .split(":")
    .map((octet) => Number.parseInt(octet, 16))
    .join(".");

type Row = readonly [oid: string, type: string, value: string | number];
const bridge = "1.3.6.1.2.1.17";
/** snmpd names this machine's interfaces itself: 1 is `lo`. Port 8 has no interface. */
const names: readonly Row[] = [[`${bridge}.1.4.1.2.7`, "integer", 1]];
const plain: readonly Row[] = [
  ...names,
  [`${bridge}.4.3.1.2.${indexOf(one)}`, "integer", 7],
  [`${bridge}.4.3.1.2.${indexOf(other)}`, "integer", 8],
];
const withVlans: readonly Row[] = [
  ...names,
  [`${bridge}.7.1.2.2.1.2.10.${indexOf(one)}`, "integer", 7],
  [`${bridge}.7.1.2.2.1.2.20.${indexOf(other)}`, "integer", 8],
];
const notKnown: readonly Row[] = [...names, [`${bridge}.4.3.1.2.${indexOf(one)}`, "integer", 0]];

const rackOf = (first: string, second: string) =>
  parseRackFile(
    `name: r\nstacks: [{ name: a, slots: [{ name: 1, port: "${first}" }, { name: 2, port: "${second}" }] }]`,
    "rack.yaml",
  );

async function startSwitch(t: ExecutionContext, rows: readonly Row[]): Promise<number> {
  const directory = temporaryDirectory(t);
  const table = join(directory, "table.json");
  writeFileSync(table, JSON.stringify(rows));
  const program = new URL("object-table.ts", import.meta.url).pathname;
  return await startSnmpd(t, directory, [
    `rocommunity ${community} 127.0.0.1`,
    `pass_persist .${bridge} ${process.execPath} ${program} ${table}`,
  ]);
}

/** @param ports - of the agents, each a switch named `sw1`, … */
async function openAll(t: ExecutionContext, ports: readonly number[]) {
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, "community"), `${community}\n`, { mode: 0o600 });
  const switches = ports.map(
    (port, index) =>
      `{ name: sw${index + 1}, host: 127.0.0.1, port: ${port}, communityFile: community }`,
  );
  const text = `subnets: [{ cidr: 10.77.0.0/24, interface: eth0, reserved: [10.77.0.10, 10.77.0.20] }]\nswitches: [${switches.join(", ")}]`;
  const config = parseConfig(text, join(directory, "server.yaml"));
  return await openSwitches(config.switches, silentLog);
}

const cases = [
  ["the name of the port", plain, "lo", "8"],
  ["its number", plain, "7", "8"],
  ["the switch and its name", plain, "sw1/lo", "sw1/8"],
  ["the name of the port, of a switch with VLANs", withVlans, "lo", "8"],
] as const;
for (const [title, rows, first, second] of cases) {
  test.serial(`a rack file may write ${title}`, async (t) => {
    const locate = await openAll(t, [await startSwitch(t, rows)]);
    const found = await locate?.(rackOf(first, second), [one, other, absent], signal);
    t.deepEqual(
      [...(found ?? [])],
      [
        [one, first],
        [other, second],
      ],
    );
  });
}

test.serial("a board whose port the switch does not know is nowhere", async (t) => {
  const locate = await openAll(t, [await startSwitch(t, notKnown)]);
  t.deepEqual([...((await locate?.(rackOf("7", "8"), [one], signal)) ?? [])], []);
});

test.serial(
  "of two switches, one that is silent tells nothing, and two that differ are not believed",
  async (t) => {
    const [first, second] = [await startSwitch(t, plain), await startSwitch(t, plain)];
    const apart = rackOf("sw1/lo", "sw2/lo");
    const both = await openAll(t, [first, second]);
    t.deepEqual([...((await both?.(apart, [one], signal)) ?? [])], []);
    const half = await openAll(t, [first, 9]); // discard: nobody answers SNMP there
    t.deepEqual([...((await half?.(apart, [one], signal)) ?? [])], [[one, "sw1/lo"]]);
  },
);

test("no switch configured: nobody is asked; a missing secret is told with its file", async (t) => {
  t.is(await openSwitches([], silentLog), undefined);
  const text = `subnets: [{ cidr: 10.77.0.0/24, interface: eth0, reserved: [10.77.0.10, 10.77.0.20] }]\nswitches: [{ name: sw1, host: 127.0.0.1, communityFile: none }]`;
  const { switches } = parseConfig(text, "/nowhere/server.yaml");
  await t.throwsAsync(openSwitches(switches, silentLog), {
    instanceOf: ConfigurationError,
    message: "/nowhere/none is not there: a switch needs it",
  });
  const withoutFile = switches.map(({ communityFile: _, ...rest }) => rest);
  await t.throwsAsync(openSwitches(withoutFile, silentLog), {
    instanceOf: ConfigurationError,
    message: /^switch sw1: community is missing/,
  });
});
