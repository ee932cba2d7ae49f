/** The driver `ipmi` with Debian's ipmitool against OpenIPMI's ipmi_sim, on 127.0.0.1. */

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { milliseconds } from "#protocol/brand.ts";
import { systemClock } from "../../server/clock.ts";
import { PowerRefusedError, PowerUnreachableError } from "../../server/errors.ts";
import { ipmiDriver } from "../../server/power/drivers/ipmi.ts";
import { erase } from "../../server/power/registry.ts";
import { type Bench, powerDriverContract } from "../power/contract.ts";
import { freeUdpPort } from "../support/free-udp-port.ts";
import { writeIpmiSim } from "../support/ipmi-sim.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const { signal } = new AbortController();
const password = "canary-ipmi";

/** What ipmi_sim runs to ask and switch the chassis (ipmi_lan(5), chassis_control). */
const chassis = (directory: string) => `cd ${directory}
echo "$*" >> calls
shift; verb=$1; shift
if [ "$verb" = get ]; then
  for one; do [ "$one" = power ] && echo "power:$(cat power)"; done
else
  while [ $# -gt 1 ]; do [ "$1" = power ] && echo "$2" > power; shift 2; done
fi
exit 0`;

async function startBmc(t: ExecutionContext) {
  const directory = temporaryDirectory(t);
  const port = await freeUdpPort();
  writeFileSync(join(directory, "power"), "0\n");
  const user = { user: "ada", password };
  const words = writeIpmiSim(directory, {
    ...{ address: "127.0.0.1", port, ...user },
    chassis: chassis(directory),
  });
  const bmc = spawn("ipmi_sim", words, { stdio: "ignore" });
  t.teardown(() => end(bmc));
  const settings = { host: "127.0.0.1", port, ...user, cipherSuite: 3 };
  const parsed = ipmiDriver.parse(settings);
  for (let round = 0; ; round++) {
    const state = await ipmiDriver.query(parsed, signal).catch((error: unknown) => error);
    if (state === "off") break;
    if (round === 100) throw state;
    await systemClock.sleep(milliseconds(100));
  }
  const calls = () =>
    existsSync(join(directory, "calls"))
      ? readFileSync(join(directory, "calls"), "utf8").split("\n").filter(Boolean)
      : [];
  const before = calls().length;
  return {
    settings,
    state: () => (readFileSync(join(directory, "power"), "utf8").trim() === "1" ? "on" : "off"),
    contacts: () => calls().length - before,
  } as const;
}

function end(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.kill("SIGKILL");
  });
}

powerDriverContract("ipmi", async (t): Promise<Bench> => {
  const { settings, state, contacts } = await startBmc(t);
  return {
    driver: erase(ipmiDriver),
    settings,
    silent: { ...settings, port: 9 },
    refusing: { ...settings, cipherSuite: 17 }, // ipmi_sim 2.0.33 has none with SHA-256
    state,
    contacts,
  };
});

test("the best cipher suite is found without a setting", async (t) => {
  const { settings, state } = await startBmc(t);
  const { cipherSuite: _, ...rest } = settings;
  await ipmiDriver.set(ipmiDriver.parse(rest), "on", signal);
  t.is(state(), "on");
});

test("a wrong password and an unknown user do not switch, and the message says where to look", async (t) => {
  const { settings, state } = await startBmc(t);
  for (const wrong of [{ password: "canary-wrong" }, { user: "nobody" }]) {
    const error = await t.throwsAsync(
      ipmiDriver.set(ipmiDriver.parse({ ...settings, ...wrong }), "on", signal),
    );
    t.true(error instanceof PowerUnreachableError || error instanceof PowerRefusedError);
    t.regex(error?.message ?? "", /^BMC 127\.0\.0\.1: .*(?:password|privilege)/i);
    t.false(error?.message.includes("canary"), error?.message);
  }
  t.is(state(), "off");
});

test("the password is in no argument list", async (t) => {
  const { settings } = await startBmc(t);
  const asked = ipmiDriver.query(ipmiDriver.parse({ ...settings, port: 9 }), signal);
  const over = new AbortController();
  const answer = t
    .throwsAsync(asked, { instanceOf: PowerUnreachableError })
    .finally(() => over.abort());
  const seen = new Set<string>();
  while (!over.signal.aborted) {
    for (const line of argumentLists()) seen.add(line);
    await systemClock.sleep(milliseconds(200), over.signal);
  }
  await answer;
  const lists = [...seen].filter((line) => line.includes("ipmitool"));
  t.true(lists.length > 0, "ipmitool was seen");
  t.deepEqual(
    lists.filter((line) => line.includes(password)),
    [],
  );
});

function argumentLists(): readonly string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => {
      try {
        return readFileSync(`/proc/${name}/cmdline`, "utf8");
      } catch {
        return ""; // it has ended
      }
    });
}
