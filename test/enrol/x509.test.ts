import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  sign,
  X509Certificate,
} from "node:crypto";
import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import type { Ipv4Address } from "#protocol/brand.ts";
import { type CertificateFields, writeCertificate } from "../../server/enrol/x509.ts";

const authority = generateKeyPairSync("ec", { namedCurve: "P-256" });
const node = generateKeyPairSync("ed25519");

function write(use: CertificateFields["use"], change: Partial<CertificateFields> = {}) {
  const publicKey = use.kind === "authority" ? authority.publicKey : node.publicKey;
  const keyId = (key: typeof publicKey) =>
    createHash("sha1")
      .update(key.export({ type: "spki", format: "der" }))
      .digest();
  return new X509Certificate(
    writeCertificate(
      {
        issuer: "a site",
        subject: use.kind === "authority" ? "a site" : "node_1",
        serial: Uint8Array.of(0, 0x80, 1),
        publicKey: publicKey.export({ type: "spki", format: "der" }),
        subjectKeyId: keyId(publicKey),
        authorityKeyId: keyId(authority.publicKey),
        use,
        ...change,
      },
      (bytes) => sign("sha256", bytes, authority.privateKey),
    ),
  );
}

test("the authority's certificate is a root that signs itself", (t) => {
  const certificate = write({ kind: "authority" });
  t.true(certificate.ca);
  t.true(certificate.checkIssued(certificate));
  t.true(certificate.verify(authority.publicKey));
  t.is(certificate.subject, "CN=a site");
});

test("a server's certificate names its addresses and nothing else", (t) => {
  const addresses = ["10.77.0.1", "192.168.0.255"] as Ipv4Address[];
  const certificate = write({ kind: "server", addresses });
  t.is(certificate.subjectAltName, "IP Address:10.77.0.1, IP Address:192.168.0.255");
  t.is(certificate.checkIP("10.77.0.1"), "10.77.0.1");
  t.is(certificate.checkIP("10.77.0.2"), undefined);
  t.deepEqual(certificate.keyUsage, ["1.3.6.1.5.5.7.3.1"]); // extended: serverAuth
  t.false(certificate.ca);
});

test("a node's certificate carries the node's key and serves for clients only", (t) => {
  const certificate = write({ kind: "node" });
  t.true(certificate.checkPrivateKey(node.privateKey));
  t.deepEqual(certificate.keyUsage, ["1.3.6.1.5.5.7.3.2"]); // extended: clientAuth
  t.true(certificate.checkIssued(write({ kind: "authority" })));
  t.is(certificate.subject, "CN=node_1");
});

test("certificates are good from 1970, for nodes without a clock, and do not run out", (t) => {
  const certificate = write({ kind: "node" });
  t.is(certificate.validFrom, "Jan  1 00:00:00 1970 GMT");
  t.is(certificate.validTo, "Dec 31 23:59:59 9999 GMT");
});

testProp(
  "any serial is written as a positive integer in its shortest form (X.690 §8.3)",
  [fc.uint8Array({ minLength: 1, maxLength: 19 })],
  (t, serial) => {
    const value = BigInt(`0x${serial.toHex()}`);
    t.is(BigInt(`0x${write({ kind: "node" }, { serial }).serialNumber}`), value);
  },
  { numRuns: 50 },
);

testProp(
  "any subject text survives, whatever its length",
  [fc.string({ minLength: 1, maxLength: 300, unit: fc.constantFrom("a", "ä", "0", "-") })],
  (t, subject) => {
    const der = write({ kind: "node" }, { subject }).raw;
    t.true(der.includes(Buffer.from(subject)));
    t.truthy(
      createPublicKey(new X509Certificate(der).publicKey.export({ type: "spki", format: "pem" })),
    );
  },
  { numRuns: 50 },
);
