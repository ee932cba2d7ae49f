import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { startTestServer, tokens } from "../http/support.ts";
import { run } from "./support.ts";

const file = (password: string) => `name: two
stacks:
  - name: a
    slots: 2
    outlet: { driver: ipmi, settings: { host: h, user: u, password: ${password} } }
`;

async function bench(t: ExecutionContext) {
  const server = await startTestServer();
  const directory = mkdtempSync(join(tmpdir(), "marcoboot-rack-test-"));
  t.teardown(async () => {
    await server.close();
    rmSync(directory, { recursive: true });
  });
  const path = join(directory, "two.yaml");
  const write = (text: string) => writeFileSync(path, text);
  const cli = (words: readonly string[], options: Parameters<typeof run>[2] = {}) =>
    run(words, server, { token: tokens.admin, ...options });
  return { server, directory, path, write, cli };
}

test("a rack is applied, exported, compared and applied again without its secret", async (t) => {
  const { path, write, cli } = await bench(t);
  write(file("canary-one"));
  const dry = await cli(["rack", "apply", path, "--dry-run"]);
  t.is(dry.code, 0, dry.err);
  t.regex(dry.out, /\+ two\/a\/1 hostname: two-a-1/);
  t.is((await cli(["rack", "check", "two"])).code, 5, "nothing was kept");
  const applied = await cli(["rack", "apply", path]);
  t.is(applied.code, 0, applied.err);
  const exported = await cli(["rack", "export", "two"]);
  t.regex(exported.out, /kept: true/);
  write(exported.out);
  t.is((await cli(["rack", "diff", path])).out, "rack two: nothing changes\n");
  t.is((await cli(["rack", "apply", path])).code, 0);
  write(exported.out.replace("slots: 2", "slots: 3"));
  t.is((await cli(["rack", "diff", path])).out, "+ two/a/3 hostname: two-a-3\n");
  write(file("canary-two"));
  const secret = "~ two/a outlet.settings.password: (secret) -> (another secret)\n";
  t.is((await cli(["rack", "diff", path])).out, secret);
  for (const { out, err } of [dry, applied, exported]) t.false(`${out}${err}`.includes("canary"));
});

test("a file that does not fit the site is kept only by force", async (t) => {
  const { server, path, write, cli } = await bench(t);
  write("name: two\nstacks: [{ name: a, slots: [{ name: 1, address: 10.99.0.1 }] }]");
  for (const words of [
    ["rack", "apply", path],
    ["rack", "check", path],
    ["rack", "apply", path, "--dry-run"],
  ]) {
    const refused = await cli(words);
    t.is(refused.code, 1);
    t.regex(
      refused.out + refused.err,
      /PROBLEM\s+two\/a\/1: address 10\.99\.0\.1 is on no configured subnet/,
    );
    t.regex(refused.out + refused.err, /-> choose another, or configure its subnet/);
  }
  t.is(server.store.racks.get("two"), undefined);
  t.is((await cli(["rack", "apply", path, "--force"])).code, 0);
});

test("nodes lose their slot only when that was said", async (t) => {
  const { server, path, write, cli } = await bench(t);
  write("name: lab\nstacks: [{ name: a, slots: 4, outlet: { driver: manual } }]");
  const refused = await cli(["rack", "apply", path]);
  t.is(refused.code, 2);
  t.regex(refused.err, /4 nodes of rack lab lose their slot.: add --yes/);
  t.is(server.store.racks.get("lab")?.stacks.length, 3);
  t.is((await cli(["rack", "apply", path, "--yes"])).code, 0);
  t.is(server.store.racks.get("lab")?.stacks.length, 1);
});

test("one member is set and taken out, a secret from standard input", async (t) => {
  const { server, path, write, cli } = await bench(t);
  write(file("canary-one"));
  await cli(["rack", "apply", path]);
  const done = [
    await cli(["rack", "set", "two/a/1", "address", "10.77.0.20"]),
    await cli(["rack", "set", "two", "power.onAtOnce", "2"]),
    await cli(["rack", "set", "two/a", "outlet.settings.password", "-"], { stdin: "canary-new\n" }),
  ];
  for (const { code, err } of done) t.is(code, 0, err);
  const rack = server.store.racks.get("two");
  t.is(rack?.stacks[0]?.slots[0]?.address, "10.77.0.20");
  t.deepEqual(rack?.power, { onAtOnce: 2 });
  t.is(rack?.stacks[0]?.outlet?.settings["password"], "canary-new");
  t.is((await cli(["rack", "unset", "two/a/1", "address"])).code, 0);
  t.is(server.store.racks.get("two")?.stacks[0]?.slots[0]?.address, undefined);
  const wrong = await cli(["rack", "set", "two/a/1", "adress", "10.77.0.20"]);
  t.is(wrong.code, 2);
  t.regex(wrong.err, /no member "adress"; there are: name, hostname, address/);
});

test("without a terminal and an editor nothing is begun", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const { code, err } = await run(["rack", "edit", "lab"], server, { token: tokens.admin });
  t.is(code, 2);
  t.regex(err, /needs a terminal: rack export/);
});

test("a rack is edited in the person's editor; who was overtaken finds the text again", async (t) => {
  const { server, directory, path, write, cli } = await bench(t);
  write(file("canary-one"));
  await cli(["rack", "apply", path]);
  const editor = (name: string, script: string) => {
    const at = join(directory, name);
    writeFileSync(at, `#!/bin/sh\n${script}\n`);
    chmodSync(at, 0o755);
    return { environment: { EDITOR: at } };
  };
  const more = await cli(
    ["rack", "edit", "two"],
    editor("more", 'sed -i "s/slots: 2/slots: 3/" "$1"'),
  );
  t.is(more.code, 0, more.err);
  t.is(server.store.racks.get("two")?.stacks[0]?.slots.length, 3);
  const bad = await cli(["rack", "edit", "two"], editor("bad", 'sed -i "s/slots/slosts/" "$1"'));
  t.is(bad.code, 2);
  const kept = /what you wrote is in (.*)\n/.exec(bad.err)?.[1] ?? "";
  t.regex(readFileSync(kept, "utf8"), /slosts: 3/);
  rmSync(join(kept, ".."), { recursive: true });
  const given = await cli(["rack", "edit", "two"], editor("none", "exit 1"));
  t.regex(given.err, /ended with 1: nothing was changed/);
});

test("a file is checked without a server, and with what the outlets say", async (t) => {
  const { path, write, cli } = await bench(t);
  write(file("canary-one"));
  const offline = await run(["rack", "check", path, "--offline"]);
  t.is(offline.out, "rack two: 1 stacks, 2 slots\n", offline.err);
  const asked = await cli(["rack", "check", path, "--outlets"]);
  t.regex(asked.out, /ok\s+outlet of stack two\/a \(ipmi\) is off\nok\s+rack two fits/);
  write("name: two\nstacks: [{ name: a, slosts: 2 }]");
  t.regex(
    (await run(["rack", "check", path, "--offline"])).err,
    /two.yaml, line 2: a stack has no member "slosts"/,
  );
});
