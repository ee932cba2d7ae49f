/** Our SSH client against OpenSSH's server. */

import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import test from "ava";
import fc from "fast-check";
import type { Ipv4Address } from "#protocol/brand.ts";
import { openSshKey } from "../../server/ssh/key.ts";
import { connectShell, quoted } from "../../server/ssh/shell.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { startSshServer, whyNot } from "./support.ts";

if (whyNot !== undefined) console.warn(`skipped: ${whyNot}`);
const peer = whyNot === undefined ? test : test.skip;
const never = new AbortController().signal;

peer(
  "a program runs with its arguments as they are, and its lines and exit status come back",
  async (t) => {
    const { target } = await startSshServer(t);
    const shell = await connectShell(target, never);
    t.teardown(() => shell.close());
    const lines: string[] = [];
    const nasty = ["a b", "$(id)", "`id`", "'", '"', ";", "*", "\\", "two\nlines", ""];
    const exit = await shell.run(["printf", "[%s]\n", ...nasty], (line) => lines.push(line), never);
    t.deepEqual(exit, { code: 0 });
    t.is(lines.join("\n"), nasty.map((one) => `[${one}]`).join("\n"));

    const failed = await shell.run(
      ["sh", "-c", "echo out; echo err >&2; exit 3"],
      (line) => lines.push(line),
      never,
    );
    t.deepEqual(failed, { code: 3 });
    t.deepEqual(lines.slice(-2).sort(), ["err", "out"]);
    t.deepEqual(await shell.run(["sh", "-c", "kill -TERM $$"], () => undefined, never), {
      signal: "TERM",
    });
  },
);

peer("another host key is refused, also one that nobody recorded", async (t) => {
  const { target } = await startSshServer(t);
  const other = { ...target, hostKeys: ["SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] };
  await t.throwsAsync(connectShell(other, never), { message: /is not the recorded one/ });
  await t.throwsAsync(connectShell({ ...target, hostKeys: [] }, never), {
    message: /no host key was recorded/,
  });
});

peer("a node that does not know our key, and one that is not there, are told apart", async (t) => {
  const { target, directory } = await startSshServer(t);
  const { privateKey } = await openSshKey(join(directory, "keys", "other.key"));
  await t.throwsAsync(connectShell({ ...target, privateKey }, never), {
    message: /is not let in with the server's key/,
  });
  const nobody = { ...target, address: "127.0.0.2" as Ipv4Address, port: 9 };
  await t.throwsAsync(connectShell(nobody, never), {
    message: /^127\.0\.0\.2:9 by SSH: .*REFUSED/,
  });
});

peer("a file is written beside and renamed over, with its mode", async (t) => {
  const { target, directory } = await startSshServer(t);
  const shell = await connectShell(target, never);
  t.teardown(() => shell.close());
  const path = join(directory, "file");
  const large = Buffer.alloc(300_000, "marcoboot");
  await shell.write(path, Readable.from([Buffer.from("old")]), 0o600);
  await shell.write(path, Readable.from([large]), 0o640);
  t.true(readFileSync(path).equals(large));
  t.is(statSync(path).mode & 0o777, 0o640);

  const broken = new Readable({
    read() {
      this.destroy(new Error("source gone"));
    },
  });
  await t.throwsAsync(shell.write(path, broken, 0o640), { message: /source gone/ });
  await t.throwsAsync(shell.write("/nowhere/file", Readable.from(["x"]), 0o600), {
    message: /\/nowhere\/file could not be written/,
  });
  t.true(readFileSync(path).equals(large));
  t.deepEqual(
    readdirSync(directory).filter((name) => name.endsWith(".tmp")),
    [],
  );
});

peer("who gives up does not wait for the program", async (t) => {
  const { target } = await startSshServer(t);
  const shell = await connectShell(target, never);
  t.teardown(() => shell.close());
  const stop = new AbortController();
  const sleeping = shell.run(
    ["sh", "-c", "echo begun; sleep 300"],
    () => stop.abort(new Error("enough")),
    stop.signal,
  );
  await t.throwsAsync(sleeping, { message: "enough" });
  t.deepEqual(await shell.run(["true"], () => undefined, never), { code: 0 });
});

peer("a connection that breaks in the middle is an error, not silence", async (t) => {
  const { target } = await startSshServer(t);
  const shell = await connectShell(target, never);
  const killed = shell.run(["sh", "-c", "kill -9 $PPID; sleep 300"], () => undefined, never);
  await t.throwsAsync(killed, { message: /the SSH connection broke/ });
});

test("the server's key is made once and stays", async (t) => {
  const path = join(temporaryDirectory(t), "keys", "ssh.key");
  const first = await openSshKey(path);
  t.regex(first.publicLine, /^ssh-ed25519 AAAA\S+ marcoboot$/);
  t.deepEqual(await openSshKey(path), first);
  t.is(statSync(path).mode & 0o777, 0o600);
});

test("of a thousand keys every one can be read again, by OpenSSH's rules for its length", async (t) => {
  const directory = temporaryDirectory(t);
  for (let count = 0; count < 1000; count++) {
    const path = join(directory, `${count}.key`);
    const { publicLine } = await openSshKey(path);
    // ssh-ed25519, and a point of 32 octets (RFC 8709 §4), each with its length in front.
    t.is(Buffer.from(publicLine.split(" ")[1] ?? "", "base64").length, 4 + 11 + 4 + 32);
  }
});

test("a file that holds no key is told, not replaced", async (t) => {
  const path = join(temporaryDirectory(t), "ssh.key");
  writeFileSync(
    path,
    "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
  );
  await t.throwsAsync(openSshKey(path), {
    message: `${path} is no SSH key: put it back, or remove it for a new one`,
  });
  t.regex(readFileSync(path, "utf8"), /AAAA/);
});

test("a quoted argument has no quote left open", (t) => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const bare = quoted(text).replaceAll(`'\\''`, "");
      return bare.startsWith("'") && bare.endsWith("'") && !bare.slice(1, -1).includes("'");
    }),
  );
  t.is(quoted("it's"), `'it'\\''s'`);
});
