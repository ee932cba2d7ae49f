/**
 * A server's BMC by Redfish (DMTF DSP0266): PowerState of a ComputerSystem, and
 * its action ComputerSystem.Reset with `On` and `ForceOff`. HTTPS only.
 *
 * Links of the BMC are followed only as paths on the same BMC: an answer cannot
 * send our credentials elsewhere.
 */

import { Type } from "typebox";
import type { PowerState } from "#protocol/node.ts";
import { PowerRefusedError, PowerUnreachableError } from "../../errors.ts";
import { bmcBehaviour, bmcMembers } from "../bmc.ts";
import { choice, definePowerDriver, type SettingsOf } from "../driver.ts";
import { type Answer, exchange, type Question, trustMembers } from "../exchange.ts";

const members = {
  ...bmcMembers(443, 64),
  authentication: choice(["session", "basic"], {
    description: "session: a token for each question, ended after it; basic: name and password",
    default: "session",
  }),
  system: Type.Optional(
    Type.String({
      description: "Id of the ComputerSystem; default: the only one there is",
      pattern: "^[A-Za-z0-9._~-]{1,100}$",
    }),
  ),
  ...trustMembers,
};
export type RedfishSettings = SettingsOf<typeof members>;

const root = "/redfish/v1";
const resetAction = "#ComputerSystem.Reset";
/** ResetType: On, and ForceOff because an outlet does not ask the OS either. */
const resetTypes = { on: "On", off: "ForceOff" } as const;

type Resource = Readonly<Record<string, unknown>>;

/** One BMC for the length of one question; `headers` carry the credential. */
interface Bmc {
  readonly settings: RedfishSettings;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

export const redfishDriver = definePowerDriver({
  kind: "redfish",
  about: "server with a BMC: Redfish over HTTPS",
  settings: members,
  ...bmcBehaviour,

  set: (settings, state, signal) =>
    withBmc(settings, signal, async (bmc) => {
      const system = await systemOf(bmc);
      if (powerOf(system, settings) === state) return;
      const { target, types } = resetOf(system, settings);
      const wanted = resetTypes[state];
      if (types && !types.includes(wanted)) {
        throw new PowerRefusedError(
          `BMC ${settings.host} has no reset type ${wanted}; it has ${types.join(", ")}`,
        );
      }
      await ask(bmc, "POST", target, { ResetType: wanted });
    }),

  query: (settings, signal) =>
    withBmc(settings, signal, async (bmc) => powerOf(await systemOf(bmc), settings)),
});

async function withBmc<T>(
  settings: RedfishSettings,
  signal: AbortSignal,
  work: (bmc: Bmc) => Promise<T>,
): Promise<T> {
  const { user, password, authentication } = settings;
  if (authentication === "basic") {
    const credential = Buffer.from(`${user}:${password}`).toString("base64");
    return await work({ settings, signal, headers: { authorization: `Basic ${credential}` } });
  }
  const anonymous: Bmc = { settings, signal, headers: {} };
  const opened = await ask(anonymous, "POST", `${root}/SessionService/Sessions`, {
    UserName: user,
    Password: password,
  });
  const token = opened.headers["x-auth-token"];
  if (typeof token !== "string") {
    throw new PowerRefusedError(`BMC ${settings.host} gives no session: try authentication basic`);
  }
  const bmc: Bmc = { settings, signal, headers: { "x-auth-token": token } };
  try {
    return await work(bmc);
  } finally {
    await endSession(bmc, opened);
  }
}

/** BMCs have few sessions. One that cannot be ended times out by itself: no reason to fail. */
async function endSession(bmc: Bmc, { headers, body }: Answer): Promise<void> {
  const place = headers.location ?? (parse(body)?.["@odata.id"] as unknown);
  if (typeof place !== "string") return;
  try {
    await ask(bmc, "DELETE", place);
  } catch (error) {
    if (!(error instanceof PowerUnreachableError || error instanceof PowerRefusedError))
      throw error;
  }
}

async function systemOf(bmc: Bmc): Promise<Resource> {
  const { system, host } = bmc.settings;
  if (system !== undefined) return await get(bmc, `${root}/Systems/${system}`);
  const { Members: systems } = await get(bmc, `${root}/Systems`);
  const paths = (Array.isArray(systems) ? systems : []).map(
    (one) => (one as Resource)["@odata.id"],
  );
  const [path, second] = paths;
  if (typeof path !== "string") throw new PowerRefusedError(`BMC ${host} has no ComputerSystem`);
  if (second !== undefined) {
    const names = paths.map((one) => String(one).split("/").at(-1)).join(", ");
    throw new PowerRefusedError(`BMC ${host} has several systems: choose one of ${names}`);
  }
  return await get(bmc, path);
}

function powerOf({ PowerState: state }: Resource, { host }: RedfishSettings): PowerState {
  if (state === "On" || state === "PoweringOff") return "on";
  if (state === "Off" || state === "PoweringOn") return "off"; // not there yet
  if (state === undefined || state === null) return "unknown";
  throw new PowerUnreachableError(`BMC ${host}: unknown PowerState ${JSON.stringify(state)}`);
}

function resetOf(system: Resource, { host }: RedfishSettings) {
  const action = ((system["Actions"] ?? {}) as Resource)[resetAction] as Resource | undefined;
  const target = action?.["target"];
  if (typeof target !== "string") {
    throw new PowerRefusedError(`BMC ${host}: its system has no action ${resetAction}`);
  }
  const allowed = action?.["ResetType@Redfish.AllowableValues"];
  return { target, types: Array.isArray(allowed) ? allowed.map(String) : undefined };
}

async function get(bmc: Bmc, path: string): Promise<Resource> {
  const { body } = await ask(bmc, "GET", path);
  const resource = parse(body);
  if (resource) return resource;
  throw new PowerUnreachableError(`BMC ${bmc.settings.host}: ${path} is not a JSON object`);
}

async function ask(
  { settings, headers, signal }: Bmc,
  method: Question["method"],
  path: string,
  value?: Resource,
): Promise<Answer> {
  const { host, port } = settings;
  const base = new URL(`https://${host.includes(":") ? `[${host}]` : host}:${port}`);
  const url = new URL(path, base);
  if (url.origin !== base.origin) {
    throw new PowerRefusedError(`BMC ${host} points to another machine: ${url.origin}`);
  }
  const answer = await exchange(
    {
      method,
      url,
      headers: {
        accept: "application/json",
        "odata-version": "4.0",
        ...(value && { "content-type": "application/json" }),
        ...headers,
      },
      ...(value && { body: JSON.stringify(value) }),
      trust: settings,
    },
    signal,
  );
  if (answer.status >= 200 && answer.status < 300) return answer;
  throw failure(host, `${method} ${url.pathname}`, answer);
}

/** Busy, rebooting and overloaded BMCs answer 429 and 5xx; the rest is our settings. */
function failure(host: string, what: string, { status, body }: Answer): Error {
  const error = (parse(body)?.["error"] ?? {}) as Resource;
  const [extended] = (error["@Message.ExtendedInfo"] ?? []) as readonly Resource[];
  const said = extended?.["Message"] ?? error["message"] ?? "";
  const reason = `BMC ${host}: ${what}: ${status} ${String(said).slice(0, 200)}`.trim();
  return status === 429 || status >= 500
    ? new PowerUnreachableError(reason)
    : new PowerRefusedError(reason);
}

function parse(text: string): Resource | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return value !== null && typeof value === "object" ? (value as Resource) : undefined;
  } catch {
    return undefined; // some BMCs answer HTML
  }
}
