import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import type { Ipv4Address } from "#protocol/brand.ts";
import { type CertificateFields, writeCertificate } from "../../server/enrol/x509.ts";

const authority = generateKeyPairSync("ec", { namedCurve: "P-256" });
const node = generateKeyPairSync("ed25519");

async function write(use: CertificateFields["use"], subject = "node_1") {
  const isAuthority = use.kind === "authority";
  const der = await writeCertificate(
    {
      issuer: "a site",
      subject: isAuthority ? "a site" : subject,
      publicKey: isAuthority ? authority.publicKey : node.publicKey,
      use,
    },
    authority.privateKey,
  );
  return new X509Certificate(der);
}

test("the authority's certificate is a root that signs itself", async (t) => {
  const certificate = await write({ kind: "authority" });
  t.true(certificate.ca);
  t.true(certificate.checkIssued(certificate));
  t.true(certificate.verify(authority.publicKey));
  t.is(certificate.subject, "CN=a site");
});

test("a server's certificate names its addresses and nothing else", async (t) => {
  const addresses = ["10.77.0.1", "192.168.0.255"] as Ipv4Address[];
  const certificate = await write({ kind: "server", addresses });
  t.is(certificate.subjectAltName, "IP Address:10.77.0.1, IP Address:192.168.0.255");
  t.is(certificate.checkIP("10.77.0.1"), "10.77.0.1");
  t.is(certificate.checkIP("10.77.0.2"), undefined);
  t.deepEqual(certificate.keyUsage, ["1.3.6.1.5.5.7.3.1"]); // extended: serverAuth
  t.false(certificate.ca);
});

test("a node's certificate carries the node's key and serves for clients only", async (t) => {
  const certificate = await write({ kind: "node" });
  t.true(certificate.checkPrivateKey(node.privateKey));
  t.deepEqual(certificate.keyUsage, ["1.3.6.1.5.5.7.3.2"]); // extended: clientAuth
  t.true(certificate.checkIssued(await write({ kind: "authority" })));
  t.is(certificate.subject, "CN=node_1");
});

test("certificates are good from 1970, for nodes without a clock, and do not run out", async (t) => {
  const certificate = await write({ kind: "node" });
  t.is(certificate.validFrom, "Jan  1 00:00:00 1970 GMT");
  t.is(certificate.validTo, "Dec 31 23:59:59 9999 GMT");
});

test("a node's certificate is signed by the authority with ECDSA and SHA-256", async (t) => {
  const certificate = await write({ kind: "node" });
  t.true(certificate.verify(authority.publicKey));
  t.is(certificate.signatureAlgorithm, "ecdsa-with-SHA256");
  t.is(certificate.publicKey.asymmetricKeyType, "ed25519");
});

test("serial numbers differ, and fit into 20 octets", async (t) => {
  const serials = await Promise.all(
    Array.from({ length: 50 }, async () => (await write({ kind: "node" })).serialNumber),
  );
  t.is(new Set(serials).size, 50);
  for (const serial of serials) t.regex(serial, /^[0-9A-F]{1,40}$/); // a negative one has a minus sign
});

testProp(
  "any subject text survives, whatever its length",
  [
    fc.string({
      minLength: 1,
      maxLength: 300,
      unit: fc.constantFrom("a", "ä", "0", "-", ",", "="),
    }),
  ],
  async (t, subject) => {
    const certificate = await write({ kind: "node" }, subject);
    t.true(certificate.raw.includes(Buffer.from(subject)));
    t.is(certificate.checkPrivateKey(node.privateKey), true);
  },
  { numRuns: 50 },
);
