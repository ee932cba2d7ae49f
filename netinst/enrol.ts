/**
 * The node's identity: an ed25519 key made here, and the certificate the server gives for it.
 *
 * In netinst it lives in RAM until the install copies it to the disk; the resident agent reads it
 * from there. While the certificate counts it is renewed without anybody's help; a lost key means
 * a new enrolment, never a silent renewal.
 */

import { createPublicKey, generateKeyPairSync, randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import type { EnrolAnswer, EnrolRequest, RenewRequest } from "#protocol/agent.ts";
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
  /** The server has answered, and refuses. */
  readonly onRefused?: () => void;
}

/** Undefined if this machine has none yet. */
export function loadIdentity(directory: string): ClientCredential | undefined {
  const [key, certificate] = readText(identityFile(directory))?.match(pemBlocks) ?? [];
  return key === undefined || certificate === undefined ? undefined : { key, certificate };
}

/**
 * On the medium when it returns: the server drops the certificate before as soon as this one is
 * shown. Only root may read it.
 */
export function saveIdentity(directory: string, identity: ClientCredential): void {
  makePrivateDirectory(directory);
  writePrivate(identityFile(directory), identityText(identity));
  rmSync(askingFile(directory), { force: true });
}

/** Key and certificate in one file: they are replaced together or not at all. */
export function identityText({ key, certificate }: ClientCredential): string {
  return `${key.trimEnd()}\n${certificate.trimEnd()}\n`;
}

/** The server does not know the certificate any more. */
export function forgetIdentity(directory: string): void {
  rmSync(identityFile(directory), { force: true });
}

const pemBlocks = /-----BEGIN [A-Z ]+-----[^-]+-----END [A-Z ]+-----/g;
const identityFile = (directory: string) => `${directory}/node.pem`;
/** The key of an enrolment that is not answered yet. */
const askingFile = (directory: string) => `${directory}/asking.key`;

function makePrivateDirectory(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chmodSync(directory, 0o700);
}

function writePrivate(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
  const directory = openSync(dirname(path), "r");
  fsyncSync(directory);
  closeSync(directory);
}

/**
 * Asks until the server accepts: a refusal is shown with its reason and asked again after up to
 * four minutes, since an admin may approve meanwhile. Network failures are the caller's to handle.
 *
 * @throws NetworkError, UntrustedError
 */
export async function enrol(context: EnrolContext, signal: AbortSignal): Promise<ClientCredential> {
  let { token } = context.settings;
  for (let attempt = 0; ; attempt++) {
    try {
      return await enrolOnce(context, token, signal);
    } catch (error) {
      if (!(error instanceof ProblemError) || signal.aborted) throw error;
      context.onRefused?.();
      context.console.warn(`enrolment refused: ${reasonOf(error)}`);
      // a refused token stays refused, and repeating it raises alarms: from now on an admin must help
      if (!error.retryable) token = undefined;
      await sleep(backOff(attempt, 2000, 240_000), signal);
      signal.throwIfAborted();
    }
  }
}

/** @throws NetworkError, UntrustedError, ProblemError with the server's reason */
export async function enrolOnce(
  context: EnrolContext,
  token: string | undefined,
  signal: AbortSignal,
): Promise<ClientCredential> {
  const key = askingKey(context.settings.identityDirectory);
  const answer = await ask(context, publicKeyOf(key), token, signal);
  context.console.info(`enrolled as ${answer.nodeId}`);
  return { key, certificate: answer.certificate };
}

/**
 * Another key and certificate, while the present ones count; those go on counting until the new
 * ones are used.
 *
 * @param connection - with the present ones
 */
export async function renew(
  pinned: PinnedKey,
  connection: Connection,
  signal: AbortSignal,
): Promise<ClientCredential> {
  const key = newKey();
  const nonce = randomBytes(16).toString("hex");
  const body: RenewRequest = { publicKey: publicKeyOf(key), nonce };
  const answer = believed(pinned, await connection.post("/agent/v1/renew", body, signal), nonce);
  return { key, certificate: answer.certificate };
}

/**
 * The key that asks, kept until it is answered: the server takes a token again when the same key
 * asks, so an answer that was lost does not cost the enrolment; and an admin approves one key.
 */
function askingKey(directory: string): string {
  const path = askingFile(directory);
  const stored = readText(path);
  if (stored !== undefined) return stored;
  const key = newKey();
  makePrivateDirectory(directory);
  writePrivate(path, key);
  return key;
}

function newKey(): string {
  const { privateKey } = generateKeyPairSync("ed25519");
  return privateKey.export({ type: "pkcs8", format: "pem" }).toString();
}

function publicKeyOf(key: string): string {
  return createPublicKey(key).export({ type: "spki", format: "pem" }).toString();
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
  const answer = await context.connection.post("/agent/v1/enrol", body, signal);
  return believed(context.key, answer, nonce);
}

function believed(pinned: PinnedKey, value: unknown, nonce: string): EnrolAnswer {
  const answer = value as Partial<EnrolAnswer>;
  const whole =
    typeof answer.nodeId === "string" &&
    typeof answer.certificate === "string" &&
    typeof answer.nonce === "string" &&
    typeof answer.signature === "string";
  if (!whole) throw new UntrustedError("the enrolment answer is incomplete");
  checkEnrolAnswer(pinned, answer as EnrolAnswer, nonce);
  return answer as EnrolAnswer;
}
