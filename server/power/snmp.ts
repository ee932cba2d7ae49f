/**
 * Integers of an SNMP agent, read and written: versions 1, 2c (RFC 3416) and 3
 * with the user-based security model (RFC 3414). One session per question.
 */

import { isIPv6 } from "node:net";
import snmp, { type Session, type User, type Varbind } from "net-snmp";
import { Type } from "typebox";
import { PowerRefusedError, PowerUnreachableError } from "../errors.ts";
import { choice, hostSetting, portSetting, type SettingsOf, secret } from "./driver.ts";

/** Members both SNMP drivers have. */
export const agentMembers = {
  host: hostSetting("address of the SNMP agent"),
  port: portSetting(161),
  version: choice(["1", "2c", "3"], { description: "SNMP version", default: "2c" }),
  community: Type.Optional(secret({ description: "write community, versions 1 and 2c" })),
  user: Type.Optional(
    Type.String({ description: "user name, version 3", minLength: 1, maxLength: 32 }),
  ),
  authProtocol: choice(["none", "md5", "sha", "sha256", "sha512"], {
    description: "authentication, version 3",
    default: "sha",
  }),
  authKey: Type.Optional(secret({ description: "authentication passphrase, version 3" })),
  privProtocol: choice(["none", "aes", "aes256b", "aes256r"], {
    description: "encryption, version 3; aes256b: Blumenthal, aes256r: Reeder (Cisco)",
    default: "aes",
  }),
  privKey: Type.Optional(secret({ description: "encryption passphrase, version 3" })),
};
export type AgentSettings = SettingsOf<typeof agentMembers>;

const minimumKey = 8; // RFC 3414 §11.2
const timeoutMs = 2000;
const retries = 2;
/** Rows of a table asked for in one message. */
const rowsAtOnce = 20;

/** What a schema cannot say. @throws RangeError naming the missing member */
export function checkAgent(settings: AgentSettings): void {
  const { version, community, user, authProtocol, authKey, privProtocol, privKey } = settings;
  if (version !== "3") {
    if (community === undefined) throw new RangeError(`community is missing (version ${version})`);
    return;
  }
  if (user === undefined) throw new RangeError("user is missing (version 3)");
  if (authProtocol === "none" && privProtocol !== "none") {
    throw new RangeError("privProtocol must be none where authProtocol is none");
  }
  if (authProtocol !== "none") checkKey(authKey, "authKey");
  if (privProtocol !== "none") checkKey(privKey, "privKey");
}

function checkKey(key: string | undefined, name: string): void {
  if (key === undefined) throw new RangeError(`${name} is missing (version 3)`);
  if (key.length < minimumKey)
    throw new RangeError(`${name} has fewer than ${minimumKey} characters`);
}

/** @throws PowerUnreachableError, PowerRefusedError */
export async function readInteger(
  settings: AgentSettings,
  oid: string,
  signal: AbortSignal,
): Promise<number> {
  const [varbind] = await exchange(settings, oid, signal, (session, answered) =>
    session.get([oid], answered),
  );
  if (typeof varbind?.value === "number") return varbind.value;
  throw new PowerUnreachableError(`${settings.host}: ${oid} is not an integer`);
}

/** @throws PowerUnreachableError, PowerRefusedError */
export async function writeInteger(
  settings: AgentSettings,
  oid: string,
  value: number,
  signal: AbortSignal,
): Promise<void> {
  const varbinds = [{ oid, type: snmp.ObjectType.Integer, value }];
  await exchange(settings, oid, signal, (session, answered) => session.set(varbinds, answered));
}

/** Integers, and octets as text, by the index that follows the column's OID. */
export type Column = ReadonlyMap<string, number | string>;

/** One column of a table; empty when the agent has none. @throws PowerUnreachableError, PowerRefusedError */
export async function readColumn(
  settings: AgentSettings,
  column: string,
  signal: AbortSignal,
): Promise<Column> {
  const rows: Varbind[] = [];
  await exchange(settings, column, signal, (session, answered) =>
    session.subtree(column, rowsAtOnce, (found) => void rows.push(...found), answered),
  );
  return new Map(
    rows
      .filter((row) => !snmp.isVarbindError(row))
      .map(({ oid, value }) => [
        oid.slice(column.length + 1),
        typeof value === "number" ? value : String(value),
      ]),
  );
}

function exchange(
  settings: AgentSettings,
  oid: string,
  signal: AbortSignal,
  ask: (
    session: Session,
    answered: (error: Error | null, got?: readonly Varbind[]) => void,
  ) => void,
): Promise<readonly Varbind[]> {
  const { host } = settings;
  if (signal.aborted) return Promise.reject(new PowerUnreachableError(`${host}: no time left`));
  const session = open(settings);
  const asked = new Promise<readonly Varbind[]>((resolve, reject) => {
    const fail = (cause: Error) => reject(failure(host, oid, cause));
    session.on("error", fail);
    signal.addEventListener("abort", () => fail(new Error("no answer in time")), { once: true });
    ask(session, (error, varbinds = []) => {
      if (error) return fail(error);
      const wrong = varbinds.find((one) => snmp.isVarbindError(one));
      if (!wrong) return resolve(varbinds);
      reject(new PowerRefusedError(`${host}: ${snmp.varbindError(wrong)}`)); // has no such object
    });
  });
  return asked.finally(() => session.close());
}

function open(settings: AgentSettings): Session {
  const { host, port, version, community = "" } = settings;
  const options = {
    port,
    retries,
    timeout: timeoutMs,
    transport: isIPv6(host) ? ("udp6" as const) : ("udp4" as const),
  };
  if (version === "3") {
    return snmp.createV3Session(host, userOf(settings), { ...options, version: snmp.Version3 });
  }
  return snmp.createSession(host, community, {
    ...options,
    version: version === "1" ? snmp.Version1 : snmp.Version2c,
  });
}

function userOf({ user, authProtocol, authKey, privProtocol, privKey }: AgentSettings): User {
  const name = user ?? "";
  const { noAuthNoPriv, authNoPriv, authPriv } = snmp.SecurityLevel;
  if (authProtocol === "none" || authKey === undefined) return { name, level: noAuthNoPriv };
  const auth = { name, authProtocol: protocolOf(snmp.AuthProtocols, authProtocol), authKey };
  if (privProtocol === "none" || privKey === undefined) return { ...auth, level: authNoPriv };
  const privacy = { privProtocol: protocolOf(snmp.PrivProtocols, privProtocol), privKey };
  return { ...auth, ...privacy, level: authPriv };
}

function protocolOf(numbers: Readonly<Record<string, number>>, name: string): number {
  const number = numbers[name];
  if (number === undefined) throw new RangeError(`net-snmp knows no ${name}`);
  return number;
}

/** Which of them a retry can help: a lost or late answer, or an agent too busy to commit (RFC 3416 §3). */
function failure(host: string, oid: string, cause: Error): Error {
  if (cause instanceof snmp.RequestTimedOutError) {
    const reason = "no answer: address, community, or access from here?";
    return new PowerUnreachableError(`SNMP agent ${host}: ${reason}`, { cause });
  }
  if (cause instanceof snmp.RequestFailedError) {
    const name = snmp.ErrorStatus[cause.status] ?? `status ${cause.status}`;
    const reason = `SNMP agent ${host}: ${oid}: ${name}`;
    const busy = ["GeneralError", "ResourceUnavailable", "CommitFailed", "UndoFailed"];
    return busy.includes(name)
      ? new PowerUnreachableError(reason, { cause })
      : new PowerRefusedError(reason, { cause });
  }
  return new PowerUnreachableError(`SNMP agent ${host}: ${cause.message}`, { cause });
}
