/** The pinned key of the server, and what is believed because of it. */

import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto";
import {
  type Assignment,
  assignmentText,
  type EnrolAnswer,
  enrolText,
  type SignedAssignment,
} from "#protocol/agent.ts";
import { signedManifestText } from "../images/manifest.ts";
import { UntrustedError } from "./errors.ts";

export interface PinnedKey {
  /** First 16 hex digits of the sha-256 of the raw key. */
  readonly id: string;
  /** Whether `signature` (base64, ed25519) covers `text`. */
  covers(text: string, signature: string): boolean;
}

/** SubjectPublicKeyInfo in front of a raw ed25519 key (RFC 8410 §4). */
const spkiPrefix = Buffer.from("302a300506032b6570032100", "hex");

/**
 * @param serverKey - base64 of the raw 32 octets, as site.json has it
 * @throws UntrustedError if it is not such a key.
 */
export function pinKey(serverKey: string): PinnedKey {
  const raw = Buffer.from(serverKey, "base64");
  if (raw.length !== 32) {
    throw new UntrustedError(`the pinned key has ${raw.length} octets instead of 32`);
  }
  const key: KeyObject = createPublicKey({
    key: Buffer.concat([spkiPrefix, raw]),
    format: "der",
    type: "spki",
  });
  return {
    id: createHash("sha256").update(raw).digest("hex").slice(0, 16),
    covers: (text, signature) =>
      verify(null, Buffer.from(text), key, Buffer.from(signature, "base64")),
  };
}

/** @throws UntrustedError unless the pinned key signed this answer to `nonce`. */
export function checkEnrolAnswer(key: PinnedKey, answer: EnrolAnswer, nonce: string): void {
  if (answer.nonce !== nonce) throw new UntrustedError("the enrolment answer is for another nonce");
  if (!key.covers(enrolText(answer), answer.signature)) {
    throw new UntrustedError("the enrolment answer is not signed by the pinned key");
  }
}

/**
 * Opens a signed assignment.
 *
 * @throws UntrustedError if the signature is not the pinned key's, the text is no assignment, or
 *   the image's manifest has not been signed.
 */
export function openAssignment(key: PinnedKey, signed: SignedAssignment): Assignment {
  if (!key.covers(assignmentText(signed.assignment), signed.signature)) {
    throw new UntrustedError("the assignment is not signed by the pinned key");
  }
  const assignment = parseAssignment(JSON.parse(signed.assignment));
  if (assignment.action === "install" || assignment.action === "update") {
    const text = signedManifestText(assignment.image);
    if (!key.covers(text, assignment.image.signature)) {
      throw new UntrustedError(
        `the manifest of image ${assignment.image.name} is not signed by the pinned key`,
      );
    }
  }
  return assignment;
}

function parseAssignment(value: unknown): Assignment {
  const fields = record(value, "assignment");
  const ofNode =
    typeof fields["nodeId"] === "string" &&
    typeof fields["taskId"] === "string" &&
    Number.isInteger(fields["epoch"]);
  if (!ofNode || !isKnown(fields)) {
    throw new UntrustedError(`not an assignment: ${JSON.stringify(value).slice(0, 200)}`);
  }
  return value as Assignment;
}

function isKnown(fields: Record<string, unknown>): boolean {
  switch (fields["action"]) {
    case "reboot":
    case "shutdown":
      return typeof fields["warnSeconds"] === "number";
    case "inventory":
    case "confirm":
      return true;
    case "update":
      return (
        hasImage(fields) &&
        isHostname(fields["hostname"]) &&
        isTexts(fields["authorizedKeys"]) &&
        isTexts(fields["keep"]) &&
        Number.isInteger(fields["trialSeconds"]) &&
        typeof fields["isLast"] === "boolean" &&
        isGuard(fields["guard"])
      );
    case "burn-in":
      return typeof fields["seconds"] === "number" && isGuard(fields["guard"]);
    case "copy":
      return (
        hasImage(fields) &&
        String(fields["path"]).startsWith("/") &&
        Number.isInteger(fields["mode"])
      );
    case "run": {
      const { argv, timeoutSeconds } = fields;
      return isTexts(argv) && typeof timeoutSeconds === "number";
    }
    case "capture":
      return (
        (fields["format"] === "raw" || fields["format"] === "rootfs-tar") &&
        isTexts(fields["leaveOut"]) &&
        typeof fields["bootloader"] === "string" &&
        typeof fields["isLast"] === "boolean"
      );
    case "identify":
      return typeof fields["seconds"] === "number" && typeof fields["name"] === "string";
    default:
      return isInstall(fields);
  }
}

function isInstall(fields: Record<string, unknown>): boolean {
  return (
    fields["action"] === "install" &&
    hasImage(fields) &&
    isHostname(fields["hostname"]) &&
    isTexts(fields["authorizedKeys"]) &&
    (fields["guard"] === undefined || isGuard(fields["guard"]))
  );
}

/** It becomes a file name's neighbour and a line of /etc/hosts. */
function isHostname(value: unknown): boolean {
  return /^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,251}[a-zA-Z0-9])?$/.test(String(value));
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((one) => typeof one === "string");
}

function hasImage(fields: Record<string, unknown>): boolean {
  const image = record(fields["image"], "image");
  const texts = ["name", "format", "compression", "storedDigest", "bootloader", "url", "signature"];
  return (
    image["version"] === 1 &&
    texts.every((name) => typeof image[name] === "string") &&
    /^[0-9a-f]{64}$/.test(String(image["digest"])) &&
    Number.isSafeInteger(image["sizeBytes"]) &&
    Number.isSafeInteger(image["storedBytes"]) &&
    typeof fields["ticket"] === "string"
  );
}

function isGuard(value: unknown): boolean {
  const { protectedSerials, onlyOver = [] } = record(value, "guard");
  return Array.isArray(protectedSerials) && Array.isArray(onlyOver);
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (value === null || typeof value !== "object")
    throw new UntrustedError(`no ${what} in the message`);
  return value as Record<string, unknown>;
}
