import { chmodSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import type { Outlet } from "#protocol/rack.ts";
import { ConfigurationError, PowerRefusedError } from "../../server/errors.ts";
import { driverNamed } from "../../server/power/registry.ts";
import { keptSecretsOf, openSecrets, withoutSecrets } from "../../server/power/secrets.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const canary = "canary-password";
const bmc = (host: string, password: unknown = canary): Outlet => ({
  driver: "ipmi",
  settings: { host, user: "ada", password },
});

test("a secret is sealed, and opened by whoever has the key file", async (t) => {
  const directory = temporaryDirectory(t);
  const sealed = (await openSecrets(directory)).seal(bmc("10.0.0.1"));
  t.false(JSON.stringify(sealed).includes("canary"));
  t.is(sealed.settings["host"], "10.0.0.1");
  t.is(statSync(join(directory, "secrets.key")).mode & 0o777, 0o600);
  t.deepEqual((await openSecrets(directory)).open(sealed), bmc("10.0.0.1"));
});

test("sealing twice changes nothing, and equal secrets look different", async (t) => {
  const secrets = await openSecrets(temporaryDirectory(t));
  const sealed = secrets.seal(bmc("10.0.0.1"));
  t.deepEqual(secrets.seal(sealed), sealed);
  t.notDeepEqual(secrets.seal(bmc("10.0.0.1")), sealed);
});

test("with another key, or moved to another member, a secret is refused with what to do", async (t) => {
  const directory = temporaryDirectory(t);
  const secrets = await openSecrets(directory);
  const sealed = secrets.seal(bmc("10.0.0.1"));
  const moved: Outlet = {
    driver: "redfish",
    settings: { host: "10.0.0.1", user: "ada", password: sealed.settings["password"] },
  };
  const refusal = { instanceOf: PowerRefusedError, message: /secrets\.key: restore that file, or/ };
  t.throws(() => secrets.open(moved), refusal);
  rmSync(join(directory, "secrets.key"));
  const others = await openSecrets(directory);
  t.throws(() => others.open(sealed), refusal);
  t.throws(() => others.open(bmc("10.0.0.1", { sealed: "" })), refusal);
});

test("a key file that others may read is closed again, a damaged one is named", async (t) => {
  const directory = temporaryDirectory(t);
  const path = join(directory, "secrets.key");
  await openSecrets(directory);
  chmodSync(path, 0o644);
  await openSecrets(directory);
  t.is(statSync(path).mode & 0o777, 0o600);
  writeFileSync(path, readFileSync(path, "utf8").slice(0, 20));
  await t.throwsAsync(openSecrets(directory), {
    instanceOf: ConfigurationError,
    message: /secrets\.key is damaged/,
  });
});

test("instead of a secret the API says that there is one", (t) => {
  t.deepEqual(withoutSecrets(bmc("10.0.0.1")), bmc("10.0.0.1", { kept: true }));
  const manual: Outlet = { driver: "manual", settings: { note: "breaker 3" } };
  t.deepEqual(withoutSecrets(manual), manual);
});

test("a kept secret goes to the device it was given for, wherever in the rack that hangs", async (t) => {
  const secrets = await openSecrets(temporaryDirectory(t));
  const pdu = (host: string, outlet: string, community: unknown): Outlet => ({
    driver: "snmp-pdu",
    settings: { host, outlet, community },
  });
  const outlets = [bmc("10.0.0.1"), pdu("10.0.0.9", "1", "one"), pdu("10.0.0.8", "1", "two")];
  const kept = keptSecretsOf(outlets.map(secrets.seal), secrets);
  const fill = ({ driver, settings }: Outlet) => {
    const found = driverNamed(driver);
    return found && kept(found, settings);
  };
  t.is(fill(bmc("10.0.0.1", { kept: true }))?.["password"], canary);
  t.is(fill(pdu("10.0.0.8", "24", { kept: true }))?.["community"], "two");
  t.is(fill(bmc("10.0.0.2", "new"))?.["password"], "new");
  const elsewhere = { instanceOf: RangeError, message: /none is kept for this device: write it/ };
  t.throws(() => fill(bmc("10.0.0.2", { kept: true })), elsewhere);
  t.throws(() => fill(pdu("10.0.0.1", "1", { kept: true })), elsewhere);
});
