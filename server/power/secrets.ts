/**
 * Passwords and keys in outlet settings: which members they are, and how they are
 * kept. In the journal they are encrypted with a key in a file of its own, so that
 * a backup of the journal alone opens no PDU; they are opened for the moment a
 * driver needs them. Answers of the API say `{ kept: true }` instead; whoever sends
 * that back means the secret the server has, and it goes to the device it was
 * given for only.
 */

import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { join } from "node:path";
import { Value } from "typebox/value";
import { canonicalJson } from "#protocol/discovery.ts";
import type { KeptSecret, Outlet, Rack, SealedSecret } from "#protocol/rack.ts";
import { ConfigurationError, PowerRefusedError } from "../errors.ts";
import { makePrivateDirectory, readPrivate, writeDurably } from "../store/durable-file.ts";
import { isSecret } from "./driver.ts";
import { type AnyPowerDriver, driverNamed } from "./registry.ts";

type Settings = Outlet["settings"];

export interface Secrets {
  /** Encrypts the secrets that are in clear. */
  seal(outlet: Outlet): Outlet;
  /** Decrypts them. @throws PowerRefusedError when the key file is not the one they were sealed with. */
  open(outlet: Outlet): Outlet;
}

const cipher = "aes-256-gcm";
const keyOctets = 32;
const nonceOctets = 12; // NIST SP 800-38D §8.2.2: random, 96 bits
const tagOctets = 16;

/** The key in `directory`, made on the first call; only this user may read it. */
export async function openSecrets(directory: string): Promise<Secrets> {
  await makePrivateDirectory(directory);
  const path = join(directory, "secrets.key");
  const stored = await readPrivate(path);
  const key = stored === undefined ? randomBytes(keyOctets) : Buffer.from(stored, "hex");
  if (key.length !== keyOctets) {
    throw new ConfigurationError(
      `${path} is damaged: restore it, or remove it and give the outlets their passwords anew`,
    );
  }
  if (stored === undefined) await writeDurably(path, key.toString("hex"), 0o600);
  return createSecrets(key, path);
}

/** @param path - of the key, for messages */
export function createSecrets(key: Buffer, path: string): Secrets {
  return {
    seal: (outlet) =>
      mapSecrets(outlet, (value, place) =>
        typeof value === "string" ? { sealed: encrypt(value, key, place) } : value,
      ),
    open: (outlet) =>
      mapSecrets(outlet, (value, place) =>
        isSealed(value) ? decrypt(value.sealed, key, place, path) : value,
      ),
  };
}

/** For tests, and for racks that are not kept: nothing is encrypted. */
export const plainSecrets: Secrets = { seal: (outlet) => outlet, open: (outlet) => outlet };

/** What the API shows: that there is a secret. */
export function withoutSecrets(outlet: Outlet): Outlet {
  return mapSecrets(outlet, () => ({ kept: true }) satisfies KeptSecret);
}

/** The same rack with every outlet replaced. */
export function mapOutlets(rack: Rack, replace: (outlet: Outlet) => Outlet): Rack {
  const map = <Powered extends { readonly outlet?: Outlet }>(powered: Powered): Powered =>
    powered.outlet ? { ...powered, outlet: replace(powered.outlet) } : powered;
  return {
    ...rack,
    stacks: rack.stacks.map((stack) => ({ ...map(stack), slots: stack.slots.map(map) })),
  };
}

export function outletsOf(rack: Rack): readonly Outlet[] {
  return rack.stacks.flatMap((stack) =>
    [stack, ...stack.slots].flatMap(({ outlet }) => outlet ?? []),
  );
}

/** Two outlets with the same identity are one, whoever's credential switches it. */
export function identityOf(driver: AnyPowerDriver, settings: unknown): string {
  const hidden = new Set(["offSeconds", ...secretNames(driver)]);
  const filled = Value.Default(driver.schema, structuredClone(settings)) as Settings;
  const shown = Object.entries(filled).filter(([name]) => !hidden.has(name));
  return canonicalJson([driver.kind, Object.fromEntries(shown)]);
}

/** Puts the secret meant by each `{ kept: true }` into settings of a driver. */
export type KeptSecrets = (driver: AnyPowerDriver, settings: Settings) => Settings;

/** @param outlets - that there are, as they are kept */
export function keptSecretsOf(outlets: readonly Outlet[], secrets: Secrets): KeptSecrets {
  return (driver, settings) => {
    const wanted = secretNames(driver).filter((name) => isKept(settings[name]));
    const [first] = wanted;
    if (first === undefined) return settings;
    const tried = new Set<string>();
    for (const outlet of outlets) {
      if (outlet.driver !== driver.kind) continue;
      const { settings: known } = secrets.open(outlet);
      const found = Object.fromEntries(wanted.map((name) => [name, known[name]]));
      const completed = { ...settings, ...found };
      const key = canonicalJson([deviceOf(driver, known) ?? "", found]);
      if (tried.has(key)) continue;
      tried.add(key);
      if (deviceOf(driver, completed) === deviceOf(driver, known)) return completed;
    }
    throw new RangeError(`${first} is said to be kept, but none is kept for this device: write it`);
  };
}

/** Undefined when the settings do not fit the driver. */
function deviceOf(driver: AnyPowerDriver, settings: Settings): string | undefined {
  try {
    return driver.deviceOf?.(settings) ?? identityOf(driver, settings);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

export function secretNames({ schema }: AnyPowerDriver): readonly string[] {
  return Object.entries(schema.properties).flatMap(([name, member]) =>
    isSecret(member) ? [name] : [],
  );
}

export function isKept(value: unknown): value is KeptSecret {
  return (value as Partial<KeptSecret> | null | undefined)?.kept === true;
}

function isSealed(value: unknown): value is SealedSecret {
  return typeof (value as Partial<SealedSecret> | null | undefined)?.sealed === "string";
}

function mapSecrets(outlet: Outlet, replace: (value: unknown, place: string) => unknown): Outlet {
  const driver = driverNamed(outlet.driver);
  const names = driver ? secretNames(driver).filter((name) => name in outlet.settings) : [];
  if (names.length === 0) return outlet;
  const replaced = names.map((name) => [
    name,
    replace(outlet.settings[name], `${outlet.driver}.${name}`),
  ]);
  return { ...outlet, settings: { ...outlet.settings, ...Object.fromEntries(replaced) } };
}

/** @param place - driver and member: a password cannot be moved to where it would be shown */
function encrypt(text: string, key: Buffer, place: string): string {
  const nonce = randomBytes(nonceOctets);
  const sealing = createCipheriv(cipher, key, nonce).setAAD(Buffer.from(place));
  const hidden = Buffer.concat([sealing.update(text, "utf8"), sealing.final()]);
  return Buffer.concat([nonce, sealing.getAuthTag(), hidden]).toString("base64url");
}

function decrypt(sealed: string, key: Buffer, place: string, path: string): string {
  const octets = Buffer.from(sealed, "base64url");
  const text = nonceOctets + tagOctets;
  try {
    const opening = createDecipheriv(cipher, key, octets.subarray(0, nonceOctets), {
      authTagLength: tagOctets,
    })
      .setAAD(Buffer.from(place))
      .setAuthTag(octets.subarray(nonceOctets, text));
    return opening.update(octets.subarray(text), undefined, "utf8") + opening.final("utf8");
  } catch (cause) {
    throw new PowerRefusedError(
      `${place} of an outlet was not sealed with ${path}: restore that file, or give the password anew`,
      { cause },
    );
  }
}
