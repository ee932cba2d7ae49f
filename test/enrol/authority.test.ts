import { createPublicKey, generateKeyPairSync, verify, X509Certificate } from "node:crypto";
import { chmodSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import type { Ipv4Address, NodeId } from "#protocol/brand.ts";
import { openSite } from "../../server/enrol/authority.ts";
import { ConfigurationError, InvalidInputError } from "../../server/errors.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const address = "10.77.0.1" as Ipv4Address;

function publicPem(type: "ed25519" | "x25519"): string {
  const { publicKey } =
    type === "ed25519" ? generateKeyPairSync("ed25519") : generateKeyPairSync("x25519");
  return publicKey.export({ type: "spki", format: "pem" }).toString();
}

test("a site is founded once and is the same ever after", async (t) => {
  const directory = join(temporaryDirectory(t), "keys");
  const first = await openSite(directory);
  const second = await openSite(directory);
  t.is(second.serverKey, first.serverKey);
  t.is(second.keyId, first.keyId);
  t.is(second.authorityPem, first.authorityPem);
});

test("two sites have nothing in common", async (t) => {
  const one = await openSite(temporaryDirectory(t));
  const other = await openSite(temporaryDirectory(t));
  t.not(one.serverKey, other.serverKey);
  t.not(one.authorityPem, other.authorityPem);
});

test("every key file is private, is whole, and nothing else is left", async (t) => {
  const directory = join(temporaryDirectory(t), "keys");
  await openSite(directory);
  t.deepEqual(readdirSync(directory).sort(), ["authority.crt", "authority.key", "signing.key"]);
  for (const name of readdirSync(directory)) {
    t.is(statSync(join(directory, name)).mode & 0o777, 0o600, name);
  }
});

test("a key file that others could read is made private again", async (t) => {
  const directory = temporaryDirectory(t);
  await openSite(directory);
  chmodSync(join(directory, "signing.key"), 0o644);
  await openSite(directory);
  t.is(statSync(join(directory, "signing.key")).mode & 0o777, 0o600);
});

for (const name of ["signing.key", "authority.key"]) {
  test(`a damaged ${name} is refused, never replaced`, async (t) => {
    const directory = temporaryDirectory(t);
    await openSite(directory);
    writeFileSync(join(directory, name), "");
    const error = await t.throwsAsync(openSite(directory), { instanceOf: ConfigurationError });
    t.true(error?.message.includes(name));
  });
}

test("a signature verifies with the raw key that nodes pin", async (t) => {
  const site = await openSite(temporaryDirectory(t));
  const raw = Buffer.from(site.serverKey, "base64");
  t.is(raw.length, 32);
  const x = raw.toString("base64url");
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  t.true(verify(null, Buffer.from("text"), key, Buffer.from(site.sign("text"), "base64")));
});

test("the listener's certificate names its addresses and changes only with them", async (t) => {
  const site = await openSite(temporaryDirectory(t));
  const first = await site.serverTls([address]);
  t.is((await site.serverTls([address])).cert, first.cert);
  const moved = await site.serverTls(["10.77.0.2" as Ipv4Address]);
  t.is(new X509Certificate(moved.cert).subjectAltName, "IP Address:10.77.0.2");
  t.true(new X509Certificate(first.cert).checkIssued(new X509Certificate(site.authorityPem)));
});

test("a node's certificate is told by the sha-256 of its DER", async (t) => {
  const site = await openSite(temporaryDirectory(t));
  const { pem, fingerprint } = await site.issueNodeCertificate(
    "node_1" as NodeId,
    publicPem("ed25519"),
  );
  const certificate = new X509Certificate(pem);
  t.is(certificate.fingerprint256.replaceAll(":", "").toLowerCase(), fingerprint);
  t.is(certificate.subject, "CN=node_1");
});

for (const [title, pem] of [
  ["another kind of key", publicPem("x25519")],
  ["text", "hello"],
  ["nothing", ""],
] as const) {
  test(`a certificate is refused for ${title}`, async (t) => {
    const site = await openSite(temporaryDirectory(t));
    await t.throwsAsync(site.issueNodeCertificate("node_1" as NodeId, pem), {
      instanceOf: InvalidInputError,
    });
  });
}
