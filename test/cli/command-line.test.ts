import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { commands } from "../../server/cli/commands.ts";
import { commandHelp, commonOptions, overview } from "../../server/cli/help.ts";
import { clean } from "../../server/cli/output.ts";
import { password, startTestServer, tokens } from "../http/support.ts";
import { run } from "./support.ts";

test("every command has its help, with an example that begins with its own words", (t) => {
  for (const command of commands) {
    const words = ["marcoboot", command.noun, command.verb].filter((word) => word !== "").join(" ");
    const help = commandHelp(command);
    t.true(command.examples.length > 0, words);
    for (const example of command.examples) t.true(example.startsWith(words), example);
    t.true(help.includes("--json"));
    t.true(overview(commands).includes(command.about));
  }
});

test("what every command understands means the same to all of them", (t) => {
  for (const { noun, verb, options } of commands) {
    const own = Object.keys(options).filter((name) => name in commonOptions);
    t.deepEqual(own, [], `${noun} ${verb}`);
  }
});

test("nodes of one state are listed, of the server that --state names", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const words = ["node", "list", "--in", "ready", "--state", server.directory];
  const { out, err } = await run(words, undefined, { token: tokens.viewer });
  t.true(
    out.split("\n").every((line) => line === "" || /\tready\t/.test(line)),
    err,
  );
  t.is(err, "");
});

const usage = [
  ["no words", [], 0, ""],
  ["help", ["--help"], 0, ""],
  ["a noun alone", ["node"], 0, ""],
  ["help of a command", ["job", "create", "--help"], 0, ""],
  ["a noun that does not exist", ["toaster", "list"], 2, 'no command "toaster list"'],
  ["a verb that does not exist", ["node", "lst"], 2, 'no command "node lst"'],
  ["an option that does not exist", ["node", "list", "--colour"], 2, "--colour"],
  ["an argument that is missing", ["node", "show"], 2, "NODE is missing"],
  ["an argument too many", ["node", "list", "x"], 2, "too many"],
  ["an option that is missing", ["job", "create", "install"], 2, "--select is missing"],
  ["a server that is no URL", ["node", "list", "--server", "ftp://x"], 2, "not an http"],
  ["a server that is not there", ["node", "list", "--state", "/nonexistent"], 1, "no answer from"],
] as const;
for (const [title, words, code, error] of usage) {
  test(`${title} ends with ${code}`, async (t) => {
    const ran = await run(words);
    t.is(ran.code, code, ran.err);
    t.true(ran.err.includes(error), ran.err);
  });
}

test("the socket is used without a token only to be told to sign in", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const ran = await run(["node", "list"], server);
  t.is(ran.code, 4);
  t.regex(ran.err, /^error: sign in first\nhint: sign in first: marcoboot login/);
});

test("set-up keeps a token that only its owner can read, and the next command uses it", async (t) => {
  const server = await startTestServer({ users: false });
  const directory = mkdtempSync(join(tmpdir(), "marcoboot-cli-"));
  mkdirSync(join(directory, "x"));
  t.teardown(server.close);
  t.teardown(() => rmSync(directory, { recursive: true }));
  const words = ["setup", server.setupCode ?? "", "anna"];
  const ran = await run(words, server, { stdin: `${password}\n`, directory });
  t.is(ran.code, 0, ran.err);
  t.true(existsSync(join(directory, "token")));
  t.is(statSync(join(directory, "token")).mode & 0o777, 0o600);
  t.is((await run(["node", "list"], server, { directory })).code, 0);
});

test("a list is tab-separated in a pipe, a table on a terminal, one document with --json", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const options = { token: tokens.viewer };
  const piped = await run(["node", "list"], server, options);
  t.is(
    piped.out.split("\n")[0],
    "lab-a-1\tready\ton\t-\tlab/a/1\t10.77.0.17\t52:54:00:00:00:11\tuefi-pxe-x64",
  );
  const shown = await run(["node", "list"], server, { ...options, isTerminal: true });
  t.regex(shown.out, /^NAME +STATE +POWER/);
  const json = await run(["node", "list", "--json"], server, options);
  t.is((JSON.parse(json.out) as unknown[]).length, 8);
  t.is((await run(["lease", "list", "--json"], server, options)).out, "[]\n");
});

test("a dry run shows what would be lost and makes nothing", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const words = ["job", "create", "install", "-s", "lab-a-1", "--image", "debian-12", "--dry-run"];
  const ran = await run(words, server, { token: tokens.operator });
  t.is(ran.out, "lab-a-1\tinstall debian-12\teverything on vda\t-\t-\t-\n");
  t.deepEqual(server.calls, []);
});

test("what destroys is refused without terminal and without --yes, naming the flag", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const options = { token: tokens.admin };
  const install = ["job", "create", "install", "-s", "all", "--image", "debian-12"];
  for (const words of [install, ["power", "off", "all"], ["rack", "delete", "lab"]]) {
    const ran = await run(words, server, options);
    t.is(ran.code, 2, ran.err);
    t.regex(ran.err, /--yes/);
  }
  t.deepEqual(server.calls, []);
  t.is((await run([...install, "--yes"], server, options)).code, 0);
  t.deepEqual(server.calls, ["create install 8"]);
});

const codes = [
  ["something that does not exist", ["node", "show", "zz"], 5],
  ["something that is wrong", ["power", "on", "zz"], 2],
  ["something not allowed", ["rack", "delete", "lab", "--yes"], 1],
] as const;
for (const [title, words, code] of codes) {
  test(`${title} ends with ${code}`, async (t) => {
    const server = await startTestServer();
    t.teardown(server.close);
    const ran = await run(words, server, { token: tokens.operator });
    t.is(ran.code, code, ran.err);
    t.regex(ran.err, /^error: /);
  });
}

test("--wait follows the job to its end, and its outcome is the exit code", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const stop = server.events.subscribe((event) => {
    if (event.topic !== "task" || event.task.state !== "queued") return;
    stop();
    // The server is told only when the command line listens.
    setImmediate(() => {
      for (const [index, task] of server.store.tasks.unfinished().entries()) {
        const state = index === 0 ? "failed" : "done";
        const ended = { ...task, state, ...(index === 0 && { reason: "disk too small" }) } as const;
        server.store.tasks.put(ended);
        server.events.publish({ topic: "task", task: ended });
      }
      const [job] = server.store.jobs.list({ limit: 1 });
      if (!job) return;
      server.store.jobs.put({ ...job, state: "failed" });
      server.events.publish({ topic: "job", job: { ...job, state: "failed" } });
    });
  });
  const words = [
    "job",
    "create",
    "reboot",
    "-s",
    "stack:lab/a",
    "--yes",
    "--wait",
    "--timeout",
    "20",
  ];
  const ran = await run(words, server, { token: tokens.operator });
  t.is(ran.code, 3, ran.err);
  t.regex(ran.err, /lab-a-1: failed: disk too small/);
  t.regex(ran.err, /^lab-a-1: take a larger disk/m, "and what to do about it");
});

test("an image there is no room for is refused at once, with the figures", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const path = join(server.directory, "huge.img");
  writeFileSync(path, "x");
  truncateSync(path, 2 ** 42); // octets: nobody waits until they are sent
  const ran = await run(["image", "push", path], server, { token: tokens.admin });
  t.is(ran.code, 1);
  t.regex(ran.err, /image not taken: no room for 8796093022208 octets/);
  t.deepEqual(server.calls, []);
});

test("an image is pushed with progress and named after its file", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const path = join(server.directory, "debian-13.img.zst");
  writeFileSync(path, Buffer.alloc(200_000));
  const ran = await run(["image", "push", path, "--json"], server, { token: tokens.admin });
  t.is(ran.code, 0, ran.err);
  t.is((JSON.parse(ran.out) as { name: string }).name, "debian-13");
});

test("netinst show needs no server and prints what was built", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "marcoboot-netinst-"));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const words = ["netinst", "show", "--json", "--directory", directory];
  t.is((await run(words)).out, "[]\n");
  const built = {
    arch: "arm64",
    kernelBytes: 1,
    stage1Bytes: 2,
    stage2Bytes: 3,
    stage2Digest: "ab".repeat(32),
  };
  mkdirSync(join(directory, "arm64"));
  const path = join(directory, "arm64", "netinst.json");
  writeFileSync(path, JSON.stringify({ ...built, kernelVersion: "6.1" }));
  t.deepEqual(JSON.parse((await run(words)).out), [built]);
  writeFileSync(path, "{}");
  t.is((await run(words)).code, 1);
});

test("what nodes say cannot move the cursor", (t) => {
  t.is(clean("a\u001b[2Jb\u009b31m\r\u0007c\td"), "a[2Jb31mc\td");
});
