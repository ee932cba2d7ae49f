/**
 * The node's identity: an ed25519 key made here, and the certificate the server gives for it.
 *
 * In netinst it lives in RAM until the install copies it to the disk; the resident agent reads it
 * from there. A lost key means a new enrolment, never a silent renewal.
 */

import { createPublicKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
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

/** Only root may read it. */
export function saveIdentity(directory: string, identity: ClientCredential): void {
  makePrivateDirectory(directory);
  writePrivate(`${directory}/node.key`, identity.key);
  writePrivate(`${directory}/node.crt`, identity.certificate);
}

/** The server knows the certificate no more; the key stays, it is as good as a new one. */
export function forgetCertificate(directory: string): void {
  rmSync(`${directory}/node.crt`, { force: true });
}

function makePrivateDirectory(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chmodSync(directory, 0o700);
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
  const key = keyAt(context.settings.identityDirectory);
  const publicKey = createPublicKey(key).export({ type: "spki", format: "pem" }).toString();
  let { token } = context.settings;
  for (let attempt = 0; ; attempt++) {
    try {
      const answer = await ask(context, publicKey, token, signal);
      context.console.info(`enrolled as ${answer.nodeId}`);
      return { key, certificate: answer.certificate };
    } catch (error) {
      if (!(error instanceof ProblemError) || signal.aborted) throw error;
      context.console.warn(`enrolment refused: ${reasonOf(error)}`);
      // a refused token stays refused, and repeating it raises alarms: from now on an admin must help
      if (!error.retryable) token = undefined;
      await sleep(backOff(attempt, 2000, 240_000), signal);
      signal.throwIfAborted();
    }
  }
}

/**
 * The key of this boot, made when first needed and kept: the server takes a token again when the
 * same key asks, so an answer that was lost does not cost the enrolment.
 */
function keyAt(directory: string): string {
  const stored = readText(`${directory}/node.key`);
  if (stored !== undefined) return stored;
  const { privateKey } = generateKeyPairSync("ed25519");
  const key = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  makePrivateDirectory(directory);
  writePrivate(`${directory}/node.key`, key);
  return key;
}

async function ask(
  context: EnrolContext,
  publicKey: string,
  token: string | undefined,
  signal: AbortSignal,
): Promise<EnrolAnswer> {
  const { settings } = context;
  const nonce = randomBytes(16).toString("hex");
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
  if (!whole) throw new UntrustedError("the enrolment answer is incomplete");
  checkEnrolAnswer(context.key, answer as EnrolAnswer, nonce);
  return answer as EnrolAnswer;
}
