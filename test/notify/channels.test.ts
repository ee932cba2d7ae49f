/** The channels against the real other side: an HTTP server that checks the signature, an SMTP server. */

import { chmodSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import test from "ava";
import { SMTPServer } from "smtp-server";
import type { Instant } from "#protocol/brand.ts";
import type { Notice } from "#protocol/notice.ts";
import { systemClock } from "../../server/clock.ts";
import { signatureOf } from "../../server/net/signature.ts";
import { createEmail } from "../../server/notify/channels/email.ts";
import { createWebhook } from "../../server/notify/channels/webhook.ts";
import { openChannels } from "../../server/notify/channels.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const notice: Notice = {
  occasion: "job-failed",
  key: "k",
  at: 1_800_000_000_000 as Instant,
  subject: "install of all failed",
  text: "2 nodes: 1 done, 1 failed",
};
const signal = () => AbortSignal.timeout(100_000);

test("a webhook is posted as JSON, signed with the secret", async (t) => {
  const seen: { readonly body: string; readonly headers: Record<string, unknown> }[] = [];
  let status = 204;
  const server = createServer((request, response) => {
    text(request).then((body) => {
      seen.push({ body, headers: request.headers });
      response.writeHead(status, { location: "/elsewhere" }).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
  const secret = "0123456789abcdef";
  const channel = createWebhook({ url, secret, server: "rack-server" }, systemClock);
  await channel.send([notice], "id-1", signal());
  const [post] = seen;
  const stamp = String(post?.headers["x-marcoboot-timestamp"]);
  t.is(
    post?.headers["x-marcoboot-signature"],
    `sha256=${signatureOf(secret, stamp, post?.body ?? "")}`,
  );
  const { occasion, at, subject } = notice;
  t.like(JSON.parse(post?.body ?? ""), { version: 1, id: "id-1", server: "rack-server" });
  t.like(JSON.parse(post?.body ?? "").notices[0], { occasion, at, subject, text: notice.text });

  for (status of [500, 302]) {
    const reason = new RegExp(`answered with status ${status}`);
    await t.throwsAsync(channel.send([notice], "id-2", signal()), { message: reason });
  }
  t.is(seen.length, 3, "a redirect is not followed");
});

test("a webhook nobody listens at is told by its host", async (t) => {
  const gone = { url: "http://127.0.0.1:9/x", secret: "0123456789abcdef", server: "s" };
  await t.throwsAsync(createWebhook(gone, systemClock).send([notice], "id", signal()), {
    message: /^127\.0\.0\.1:9 did not answer: /,
  });
});

test("an e-mail has its notices, a subject of one line, and no reply is wanted", async (t) => {
  const inbox = await startMailServer(t, {});
  const channel = createEmail({ ...inbox.settings, security: "none" });
  const evil = { ...notice, subject: "node a\r\nBcc: everybody@example.org" };
  await channel.send([evil, notice], "notice-1-2", signal());
  const [mail] = inbox.mails;
  t.deepEqual(mail?.to, ["ops@example.org", "night@example.org"]);
  const [head = "", ...body] = mail?.body.split("\r\n\r\n") ?? [];
  const header = head.replaceAll("\r\n ", " ");
  t.notRegex(header, /^Bcc:/m);
  t.regex(header, /^Subject: \[marcoboot rack-server\] node a .*\(and 1 more\)\r$/m);
  t.regex(header, /^Auto-Submitted: auto-generated\r$/m);
  t.regex(header, /^Message-ID: <notice-1-2@rack-server>\r$/m);
  t.true(body.join().includes("install of all failed"));
  t.true(body.join().includes(notice.text));
});

test("a recipient whom the mail server refuses is named, and is the one who gets it later", async (t) => {
  const unknown = new Set(["night@example.org"]);
  const inbox = await startMailServer(t, { unknown });
  const channel = createEmail({ ...inbox.settings, security: "none" });
  await t.throwsAsync(channel.send([notice], "id", signal()), {
    message: /^mail server 127\.0\.0\.1:\d+: it refuses night@example\.org$/,
  });
  unknown.clear();
  await channel.send([notice], "id", signal());
  await channel.send([{ ...notice, key: "another" }], "id", signal());
  t.deepEqual(
    inbox.mails.map((mail) => mail.to),
    [["ops@example.org"], ["night@example.org"], ["ops@example.org", "night@example.org"]],
  );
});

test("a wrong password, and a server without the encryption asked for, are refused in words", async (t) => {
  const inbox = await startMailServer(t, { password: "right" });
  const wrong = { ...inbox.settings, security: "none", user: "u", password: "wrong" } as const;
  await t.throwsAsync(createEmail(wrong).send([notice], "id", signal()), {
    message: /^mail server 127\.0\.0\.1:\d+: .*(535|Invalid login)/,
  });
  await createEmail({ ...wrong, password: "right" }).send([notice], "id", signal());
  t.is(inbox.mails.length, 1);

  const plain = await startMailServer(t, {});
  const strict = createEmail({ ...plain.settings, security: "starttls" });
  await t.throwsAsync(strict.send([notice], "id", signal()), { message: /^mail server / });
  t.deepEqual(plain.mails, []);
});

test("a secret's file must be there, and long enough; two channels need two names", async (t) => {
  const secretFile = join(temporaryDirectory(t), "secret");
  const hook = { name: "a", on: ["job-failed" as const], url: "http://127.0.0.1:9/", secretFile };
  const open = (webhook: (typeof hook)[]) => openChannels({ webhook, email: [] }, "s", systemClock);
  await t.throwsAsync(open([hook]), { message: `${secretFile} is not there: a channel needs it` });
  writeFileSync(secretFile, "short\n");
  chmodSync(secretFile, 0o600);
  await t.throwsAsync(open([hook]), { message: /fewer than 16 characters/ });
  writeFileSync(secretFile, "0123456789abcdef\n");
  await t.throwsAsync(open([hook, hook]), { message: "two notification channels named a" });
  t.deepEqual(
    (await open([hook])).map(({ name, on }) => ({ name, on })),
    [{ name: "a", on: ["job-failed"] }],
  );
});

interface Mail {
  readonly to: readonly string[];
  readonly body: string;
}

async function startMailServer(
  t: { teardown(work: () => void): void },
  { password, unknown }: { readonly password?: string; readonly unknown?: ReadonlySet<string> },
) {
  const mails: Mail[] = [];
  const server = new SMTPServer({
    disabledCommands: password === undefined ? ["AUTH", "STARTTLS"] : ["STARTTLS"],
    authOptional: password === undefined,
    allowInsecureAuth: true,
    onAuth: ({ password: given }, _session, done) =>
      given === password ? done(null, { user: "u" }) : done(new Error("Invalid login")),
    onRcptTo: ({ address }, _session, done) =>
      done(unknown?.has(address) ? new Error("no such person") : null),
    onData(stream, { envelope }, done) {
      text(stream).then((body) => {
        mails.push({ to: envelope.rcptTo.map(({ address }) => address), body });
        done();
      });
    },
  });
  server.on("error", () => undefined); // a client that hangs up is none of this server's business
  const listening = server.listen(0, "127.0.0.1");
  await new Promise((resolve) => listening.once("listening", resolve));
  t.teardown(() => server.close());
  const settings = {
    host: "127.0.0.1",
    port: (listening.address() as AddressInfo).port,
    from: "marcoboot@example.org",
    to: ["ops@example.org", "night@example.org"],
    server: "rack-server",
  };
  return { mails, settings };
}
