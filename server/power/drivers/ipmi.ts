/**
 * A server's BMC over the network: IPMI 2.0 (RMCP+) by Debian's `ipmitool`,
 * interface `lanplus`. One program run per question; the password goes by its
 * environment, which other users of the machine cannot read.
 *
 * "off" cuts the power at once, as every driver does; a shutdown that asks the
 * OS first is the job `shutdown`.
 */

import { Type } from "typebox";
import type { PowerState } from "#protocol/node.ts";
import { PowerRefusedError, PowerUnreachableError } from "../../errors.ts";
import { bmcBehaviour, bmcMembers } from "../bmc.ts";
import { choice, definePowerDriver, type SettingsOf } from "../driver.ts";
import { type Outcome, runProgram } from "../program.ts";

const members = {
  ...bmcMembers(623, 16),
  privilege: choice(["OPERATOR", "ADMINISTRATOR"], {
    description: "privilege level asked for; OPERATOR may switch power",
    default: "OPERATOR",
  }),
  cipherSuite: Type.Optional(
    Type.Union([Type.Literal(3), Type.Literal(17)], {
      description:
        "RMCP+ cipher suite: 17 (SHA-256) or 3 (SHA-1, old BMCs); default: the best the BMC offers",
    }),
  ),
};
export type IpmiSettings = SettingsOf<typeof members>;

/** Said on the way, and not what failed. */
const noise = /HPM\.x Capabilities|Channel Cipher Suites|IANA PEN registry/;
/** What the BMC itself said no to; everything else is a matter of the network. */
const refusals =
  /unauthorized|insufficient privilege|privilege level|invalid authentication|RAKP 2|invalid data|not supported/i;
/** All that ipmitool says of a wrong password, and of a BMC that is not there. */
const noSession = /Unable to establish/;

async function ask(
  settings: IpmiSettings,
  verb: "on" | "off" | "status",
  signal: AbortSignal,
): Promise<Outcome> {
  const { host, port, user, password, privilege, cipherSuite } = settings;
  const args = [
    ...["-I", "lanplus", "-H", host, "-p", String(port), "-U", user, "-E", "-L", privilege],
    ...["-N", "2", "-R", "3"], // seconds until a packet is sent again, and how often
    ...(cipherSuite === undefined ? [] : ["-C", String(cipherSuite)]),
    ...["chassis", "power", verb],
  ];
  return await runProgram(
    "ipmitool",
    args,
    { environment: { IPMI_PASSWORD: password }, debianPackage: "ipmitool" },
    signal,
  );
}

function failure({ host }: IpmiSettings, { complaints }: Outcome): Error {
  const said = complaints.filter((line) => !noise.test(line)).join("; ");
  if (refusals.test(said)) return new PowerRefusedError(`BMC ${host}: ${said}`);
  const remedy = noSession.test(said) ? ": address, user, password or privilege?" : "";
  return new PowerUnreachableError(`BMC ${host}: ${said || "no reason given"}${remedy}`);
}

async function query(settings: IpmiSettings, signal: AbortSignal): Promise<PowerState> {
  const outcome = await ask(settings, "status", signal);
  if (outcome.exitCode !== 0) throw failure(settings, outcome);
  const state = /Chassis Power is (?<state>on|off)/.exec(outcome.output)?.groups?.["state"];
  if (state === "on" || state === "off") return state;
  throw new PowerUnreachableError(
    `BMC ${settings.host}: ipmitool said ${JSON.stringify(outcome.output.trim().slice(0, 60))}`,
  );
}

export const ipmiDriver = definePowerDriver({
  kind: "ipmi",
  about: "server with a BMC: IPMI 2.0 by ipmitool",
  settings: members,
  ...bmcBehaviour,

  check({ password }) {
    if (Buffer.byteLength(password) > 20) throw new RangeError("password has more than 20 octets");
  },

  async set(settings, state, signal) {
    const outcome = await ask(settings, state, signal);
    if (outcome.exitCode === 0) return;
    // Some BMCs refuse to switch off what is off.
    const refused = failure(settings, outcome);
    if (refused instanceof PowerUnreachableError || (await query(settings, signal)) !== state) {
      throw refused;
    }
  },

  query,
});
