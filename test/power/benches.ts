/** Hardware in this process, or made of shell scripts, for the contract of the power drivers. */

import { randomUUID } from "node:crypto";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createPlainServer } from "node:net";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import { systemClock } from "../../server/clock.ts";
import { signatureOf } from "../../server/net/signature.ts";
import { createCommandDriver } from "../../server/power/drivers/command.ts";
import { createGpioRelayDriver } from "../../server/power/drivers/gpio-relay.ts";
import { qemuDriver } from "../../server/power/drivers/qemu.ts";
import { redfishDriver } from "../../server/power/drivers/redfish.ts";
import { createWebhookDriver } from "../../server/power/drivers/webhook.ts";
import { erase } from "../../server/power/registry.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import type { Bench } from "./contract.ts";
import { fakeBmc, password } from "./fake-bmc.ts";
import { fakeGpiod } from "./fake-gpiod.ts";

export function gpioBench(version: 1 | 2, activeLow: boolean) {
  return (t: ExecutionContext): Bench => {
    const gpiod = fakeGpiod(t, version);
    const chip = newChip();
    return {
      driver: erase(createGpioRelayDriver(gpiod.path)),
      settings: { chip, line: 17, activeLow },
      refusing: { chip, line: 95, activeLow },
      state: () => ((gpiod.level(17) === "1") !== activeLow ? "on" : "off"),
      contacts: () => gpiod.calls().length,
    };
  };
}

/** A chip of the test's own: holding processes are found machine-wide by their arguments. */
export function newChip(): string {
  return `gpiochip-${randomUUID()}`;
}

export async function redfishBench(t: ExecutionContext): Promise<Bench> {
  const bmc = await fakeBmc(t);
  const settings = {
    host: "127.0.0.1",
    port: bmc.port,
    user: "admin",
    password,
    certificateFingerprint: bmc.fingerprint,
  };
  return {
    driver: erase(redfishDriver),
    settings,
    silent: { ...settings, port: 9 },
    refusing: { ...settings, password: "canary-wrong-password" },
    state: () => (bmc.power === "On" ? "on" : "off"),
    contacts: () => bmc.asked.length,
  };
}

export const webhookSecret = "canary-webhook-secret";

export async function webhookBench(t: ExecutionContext): Promise<Bench> {
  let state: "on" | "off" = "off";
  let contacts = 0;
  const server = createServer(async (request, response) => {
    contacts += 1;
    let body = "";
    for await (const part of request) body += String(part);
    const timestamp = String(request.headers["x-marcoboot-timestamp"]);
    const expected = `sha256=${signatureOf(webhookSecret, timestamp, body)}`;
    const { outlet, verb } = JSON.parse(body) as { outlet: string; verb: string };
    if (request.headers["x-marcoboot-signature"] !== expected) response.statusCode = 401;
    else if (outlet !== "a1") response.statusCode = 404;
    else if (verb === "on" || verb === "off") state = verb;
    response.end(JSON.stringify({ state }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const settings = {
    url: `http://127.0.0.1:${port}/power`,
    outlet: "a1",
    secret: webhookSecret,
    canQuery: true,
  };
  return {
    driver: erase(createWebhookDriver(systemClock)),
    settings,
    silent: { ...settings, url: "http://127.0.0.1:9/power" },
    refusing: { ...settings, secret: "canary-another-secret" },
    state: () => state,
    contacts: () => contacts,
  };
}

const strip = (directory: string) => `#!/bin/sh
cd ${directory}
echo "$# $*" >> calls
case "$1" in
  gone) echo "no such outlet" >&2; exit 2;;
  away) echo "no route" >&2; exit 1;;
  slow) sleep 60;;
esac
if [ "$2" = query ]; then cat "state-$1" 2>/dev/null || echo off; else echo "$2" > "state-$1"; fi
`;

export interface CommandBench extends Bench {
  /** Count of arguments and the arguments of each call. */
  calls(): readonly string[];
  readonly directory: string;
}

export function commandBench(t: ExecutionContext): CommandBench {
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, "switch-strip"), strip(directory));
  chmodSync(join(directory, "switch-strip"), 0o755);
  const read = (name: string) => {
    const file = join(directory, name);
    return existsSync(file) ? readFileSync(file, "utf8").trim() : "";
  };
  const calls = () => read("calls").split("\n").filter(Boolean);
  const command = ["switch-strip", "{outlet}", "{state}"];
  return {
    driver: erase(createCommandDriver(directory)),
    settings: { command, outlet: "a1", canQuery: true },
    silent: { command, outlet: "away" },
    refusing: { command, outlet: "gone" },
    hanging: { command, outlet: "slow" },
    state: () => (read("state-a1") === "on" ? "on" : "off"),
    contacts: () => calls().length,
    calls,
    directory,
  };
}

export async function qemuBench(t: ExecutionContext): Promise<Bench> {
  const directory = temporaryDirectory(t);
  const socket = join(directory, "power.sock");
  let state: "on" | "off" = "off";
  let contacts = 0;
  const server = createPlainServer((connection) => {
    connection.on("data", (bytes) => {
      contacts += 1;
      const { verb, outlet } = JSON.parse(String(bytes)) as { verb: string; outlet: string };
      if (verb === "on" || verb === "off") state = verb;
      const answer =
        outlet === "a1" ? { ok: true, state } : { ok: false, reason: "no such outlet" };
      connection.end(`${JSON.stringify(answer)}\n`);
    });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  t.teardown(() => server.close());
  return {
    driver: erase(qemuDriver),
    settings: { socket, outlet: "a1" },
    silent: { socket: join(directory, "none.sock"), outlet: "a1" },
    refusing: { socket, outlet: "z9" },
    state: () => state,
    contacts: () => contacts,
  };
}
