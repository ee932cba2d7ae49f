import test from "ava";
import { PowerRefusedError, PowerUnreachableError } from "../../server/errors.ts";
import { type RedfishSettings, redfishDriver } from "../../server/power/drivers/redfish.ts";
import { until } from "../support/until.ts";
import { type FakeBmc, fakeBmc, password } from "./fake-bmc.ts";

const { signal } = new AbortController();

function settingsOf(bmc: FakeBmc, more: Partial<RedfishSettings> = {}): RedfishSettings {
  return redfishDriver.parse({
    host: "127.0.0.1",
    port: bmc.port,
    user: "admin",
    password,
    ...(!("certificateFingerprint" in more) && { certificateAuthority: bmc.authority }),
    ...more,
  });
}

test("with the authority or the fingerprint of the certificate, by session or basic", async (t) => {
  const bmc = await fakeBmc(t);
  const ways = [
    {},
    { certificateFingerprint: bmc.fingerprint },
    { certificateFingerprint: bmc.fingerprint.replaceAll(":", "").toLowerCase() },
    { authentication: "basic" },
    { system: "437XR1138R2" },
  ] as const;
  for (const way of ways) {
    await redfishDriver.set(settingsOf(bmc, way), "on", signal);
    t.is(bmc.power, "On");
    await redfishDriver.set(settingsOf(bmc, way), "off", signal);
    t.is(await redfishDriver.query(settingsOf(bmc, way), signal), "off");
  }
  t.is(bmc.sessions.size, 0, "every session was ended");
});

test("another certificate: refused before anything is asked", async (t) => {
  const bmc = await fakeBmc(t);
  const other = settingsOf(bmc, { certificateFingerprint: "ab".repeat(32) });
  await t.throwsAsync(redfishDriver.set(other, "on", signal), {
    instanceOf: PowerRefusedError,
    message: /not the one in certificateFingerprint/,
  });
  const { certificateAuthority: _, ...unknown } = settingsOf(bmc);
  await t.throwsAsync(redfishDriver.set(unknown, "on", signal), {
    instanceOf: PowerRefusedError,
    message: /give certificateAuthority or certificateFingerprint/,
  });
  t.deepEqual(bmc.asked, []);
});

test("an action on another machine is not followed", async (t) => {
  const bmc = await fakeBmc(t);
  bmc.target = "https://192.0.2.1/redfish/v1/Systems/1/Actions/ComputerSystem.Reset";
  await t.throwsAsync(redfishDriver.set(settingsOf(bmc), "on", signal), {
    instanceOf: PowerRefusedError,
    message: /points to another machine: https:\/\/192\.0\.2\.1/,
  });
});

test("a reset type it does not have is refused, a busy BMC may be asked again", async (t) => {
  const bmc = await fakeBmc(t);
  bmc.resetTypes = ["ForceRestart"];
  await t.throwsAsync(redfishDriver.set(settingsOf(bmc), "on", signal), {
    instanceOf: PowerRefusedError,
    message: /no reset type On; it has ForceRestart/,
  });
  bmc.broken = 503;
  await t.throwsAsync(redfishDriver.query(settingsOf(bmc), signal), {
    instanceOf: PowerUnreachableError,
    message: /503 The service is temporarily unavailable/,
  });
});

test("a reset that never ends is left when the caller gives up", async (t) => {
  const bmc = await fakeBmc(t);
  bmc.hangs = true;
  const giveUp = new AbortController();
  const asked = redfishDriver.set(settingsOf(bmc), "on", giveUp.signal);
  await until(() => bmc.asked.some((line) => line.endsWith("Reset")));
  giveUp.abort();
  await t.throwsAsync(asked, { instanceOf: PowerUnreachableError });
});
