/**
 * The node's identity: an ed25519 key made here, and the certificate the server gives for it.
 *
 * In netinst it lives in RAM until the install copies it to the disk; the resident agent reads it
 * from there. A lost key means a new enrolment, never a silent renewal.
 */

import { generateKeyPairSync, randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import type { EnrolAnswer, EnrolRequest } from "#protocol/agent.ts";
import type { Hardware } from "#protocol/node.ts";
import type { ClientCredential, Connection } from "./connection.ts";
import type { Console } from "./console.ts";
import { ProblemError, reasonOf, UntrustedError } from "./errors.ts";
import { readText, type Settings } from "./settings.ts";
import { checkEnrolAnswer, type PinnedKey } from "./trust.ts";
import { backOff, sleep } from "./wait.ts";

export interface EnrolContext {
  readonly settings: Settings;
  readonly key: PinnedKey;
  readonly hardware: Hardware;
  readonly connection: Connection;
  readonly console: Console;
}

/** Undefined if this machine has none yet. */
export function loadIdentity(directory: string): ClientCredential | undefined {
  const key = readText(`${directory}/node.key`);
  const certificate = readText(`${directory}/node.crt`);
  return key === undefined || certificate === undefined ? undefined : { key, certificate };
}

/** Only root may read it. The key goes last: with it, the identity is whole. */
export function saveIdentity(directory: string, identity: ClientCredential): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chmodSync(directory, 0o700);
  writePrivate(`${directory}/node.crt`, identity.certificate);
  writePrivate(`${directory}/node.key`, identity.key);
}

export function forgetIdentity(directory: string): void {
  for (const name of ["node.key", "node.crt"]) rmSync(`${directory}/${name}`, { force: true });
}

export function writePrivate(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
}

/**
 * Asks until the server accepts: a refusal is shown with its reason and asked again after up to
 * four minutes, since an admin may approve meanwhile. Network failures are the caller's to handle.
 *
 * @throws NetworkError, UntrustedError
 */
export async function enrol(context: EnrolContext, signal: AbortSignal): Promise<ClientCredential> {
  const pair = generateKeyPairSync("ed25519");
  const key = pair.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const publicKey = pair.publicKey.export({ type: "spki", format: "pem" }).toString();
  for (let attempt = 0; ; attempt++) {
    try {
      const answer = await ask(context, publicKey, attempt, signal);
      context.console.info(`enrolled as ${answer.nodeId}`);
      return { key, certificate: answer.certificate };
    } catch (error) {
      if (!(error instanceof ProblemError) || signal.aborted) throw error;
      context.console.warn(`enrolment refused: ${reasonOf(error)}`);
      await sleep(backOff(attempt, 2000, 240_000), signal);
      signal.throwIfAborted();
    }
  }
}

async function ask(
  context: EnrolContext,
  publicKey: string,
  attempt: number,
  signal: AbortSignal,
): Promise<EnrolAnswer> {
  const { settings } = context;
  const nonce = randomBytes(16).toString("hex");
  // a token is good once: after a refusal only an admin can help, and repeating it would raise alarms
  const token = attempt === 0 ? settings.token : undefined;
  const body: EnrolRequest = {
    publicKey,
    ...(token === undefined ? {} : { token }),
    nonce,
    mac: settings.mac,
    architecture: settings.architecture,
    bootId: settings.bootId,
    hardware: context.hardware,
  };
  const answer = (await context.connection.post(
    "/agent/v1/enrol",
    body,
    signal,
  )) as Partial<EnrolAnswer>;
  const whole =
    typeof answer.nodeId === "string" &&
    typeof answer.certificate === "string" &&
    typeof answer.nonce === "string" &&
    typeof answer.signature === "string";
  if (!whole)
    throw new UntrustedError(`the enrolment answer is incomplete (asked by ${hostname()})`);
  checkEnrolAnswer(context.key, answer as EnrolAnswer, nonce);
  return answer as EnrolAnswer;
}
