/**
 * D44: a backup is taken while the journal is written, and restored elsewhere: what was stored is
 * there, secrets open with the keys only, and nothing begins by itself.
 */

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import type { NodeId } from "#protocol/brand.ts";
import { readArchive } from "../../server/backup/archive.ts";
import { backUpKeys, backUpState } from "../../server/backup/create.ts";
import { refuseHalfRestored, restore } from "../../server/backup/restore.ts";
import { noteSettings } from "../../server/backup/settings.ts";
import { systemClock } from "../../server/clock.ts";
import { openSite } from "../../server/enrol/authority.ts";
import { ConfigurationError, ConflictError } from "../../server/errors.ts";
import { openLeaseFile } from "../../server/lease/lease-file.ts";
import { silentLog } from "../../server/log.ts";
import { openSecrets, outletsOf } from "../../server/power/secrets.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import { lockState } from "../../server/store/state-lock.ts";
import { run } from "../cli/support.ts";
import { createRandom } from "../support/random.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { borrowed, lease, libraryOf, makeState, outletSecret } from "./state.ts";

const clock = systemClock;
const log = silentLog;

/** One state for all tests, its backups with and without images, and where to restore them. */
let made: Awaited<ReturnType<typeof makeBackups>>;

async function makeBackups(root: string) {
  const stateDirectory = join(root, "state");
  mkdirSync(stateDirectory);
  const state = await makeState(stateDirectory, clock);
  const path = join(root, "rack.backup");
  const small = join(root, "small.backup");
  const keysPath = join(root, "rack.keys");
  const { contents } = await backUpState({ stateDirectory, path, clock, withImages: true });
  await backUpState({ stateDirectory, path: small, clock, withImages: false });
  await backUpKeys({ stateDirectory, path: keysPath, clock });
  return { root, state, path, small, keysPath, contents };
}

const root = mkdtempSync(join(tmpdir(), "marcoboot-backup-"));
test.before(async () => {
  made = await makeBackups(root);
});
test.after.always(() => rmSync(root, { recursive: true, force: true }));

function begin(t: ExecutionContext) {
  const own = temporaryDirectory(t);
  return { ...made, root: own, fresh: join(own, "fresh") };
}

test("D44: what was stored is there again, and secrets open with the keys", async (t) => {
  const { state, path, keysPath, fresh } = begin(t);
  const restored = await restore({ path, keysPath, stateDirectory: fresh, clock, log });
  t.like(restored, { nodes: 2, users: ["ada"], tokens: 1, jobs: 1, learning: "lab" });
  t.deepEqual(restored.missingImages, []);
  t.deepEqual(readdirSync(fresh).toSorted(), ["images", "keys", "leases", "marcoboot.db"]);

  const store = openSqliteStore(join(fresh, "marcoboot.db"));
  t.teardown(() => store.close());
  t.is((await openSite(join(fresh, "keys"))).serverKey, state.site.serverKey);
  const secrets = await openSecrets(join(fresh, "keys"));
  const [outlet] = store.racks.list().flatMap(outletsOf);
  t.is(outlet && secrets.open(outlet).settings["secret"], outletSecret);
  const library = libraryOf(fresh, store, state.site, clock);
  t.is(readFileSync(library.pathOf(state.digest), "utf8"), "what is to be copied");
  const leases = await openLeaseFile(join(fresh, "leases"), { clock, log });
  t.like(leases.found, [lease]);
  await leases.close();
});

test("D44: nothing of a restored journal begins by itself", async (t) => {
  const { path, keysPath, fresh } = begin(t);
  const { contents } = await restore({ path, keysPath, stateDirectory: fresh, clock, log });
  const store = openSqliteStore(join(fresh, "marcoboot.db"));
  t.teardown(() => store.close());
  const [job] = store.jobs.list({ limit: 9 });
  t.is(job?.state, "failed");
  const [task] = job ? store.tasks.ofJob(job.id) : [];
  t.like(task, { state: "failed", reason: restoredReason(contents.at) });
  t.is(store.nodes.get(borrowed.id)?.state, "failed");
  t.is(store.nodes.get("node_a2" as NodeId)?.state, "installed");
  t.is(store.learnings.newest()?.state, "cancelled");
  t.deepEqual(store.schedules.due(clock.now(), 9), []);
  t.deepEqual(store.tokens.openOf(borrowed.mac, clock.now()), []);
  t.is(store.approvals.get(borrowed.mac)?.expiresAt, 0 as never);
  t.deepEqual(
    store.apiTokens.list().map(({ name }) => name),
    ["grafana"],
  );
  t.like(store.audit.list({ limit: 1 }), [{ who: "server", what: "restore" }]);
});

function restoredReason(at: string): string {
  return `the server was restored from a backup of ${at}: what became of it since is not known`;
}

test("D44: a backup is of one moment, though another process writes the journal all the time", async (t) => {
  const { root, state, keysPath } = begin(t);
  const stateDirectory = join(root, "state");
  cpSync(state.directory, stateDirectory, { recursive: true });
  const journal = join(stateDirectory, "marcoboot.db");
  const writer = spawn(process.execPath, [
    join(import.meta.dirname, "../store/writer.ts"),
    journal,
  ]);
  t.teardown(() => void writer.kill("SIGKILL"));
  await once(writer.stdout, "data");
  const counts: number[] = [];
  for (let round = 1; round <= 3; round++) {
    const path = join(root, `busy-${round}.backup`);
    await backUpState({ stateDirectory, path, clock, withImages: false });
    const fresh = join(root, `busy-${round}`);
    await restore({ path, keysPath, stateDirectory: fresh, clock, log });
    const store = openSqliteStore(join(fresh, "marcoboot.db"));
    const count = Number(store.settings.get("count"));
    t.like(store.events.since(0, 100_000).at(-1), { event: { text: String(count) } });
    counts.push(count);
    store.close();
  }
  t.true(
    counts.every((count, index) => count > (counts[index - 1] ?? 0)),
    `${counts}`,
  );
});

test("D44, C34: no secret and no key is in a backup of the state", async (t) => {
  const { root, state, path } = begin(t);
  const unpacked = join(root, "unpacked");
  mkdirSync(unpacked);
  execFileSync("tar", ["--zstd", "-xf", path, "-C", unpacked]);
  const texts = readdirSync(unpacked, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1"));
  t.true(texts.length >= 4);
  const keys = join(state.directory, "keys");
  const secrets = readdirSync(keys)
    .filter((name) => name !== "authority.crt")
    .map((name) => readFileSync(join(keys, name), "latin1").split("\n")[1] ?? "")
    .concat(outletSecret, readFileSync(join(keys, "secrets.key"), "latin1").trim())
    .filter((secret) => secret !== "");
  t.true(secrets.length >= 4);
  for (const secret of secrets) t.false(texts.some((text) => text.includes(secret)));
});

test("images that were left out are listed; who pushes the same octets puts them back", async (t) => {
  const { root, state, small: path, keysPath, fresh } = begin(t);
  const { missingImages } = await restore({ path, keysPath, stateDirectory: fresh, clock, log });
  t.deepEqual(
    missingImages.map(({ name }) => name),
    ["motd"],
  );
  const store = openSqliteStore(join(fresh, "marcoboot.db"));
  t.teardown(() => store.close());
  const library = libraryOf(fresh, store, state.site, clock);
  t.is(library.get(state.digest), undefined);
  t.like(library.list(), [{ name: "motd", isMissing: true }]);
  const file = join(root, "again");
  writeFileSync(file, "what is to be copied");
  await library.add({ path: file, name: "motd", architecture: "amd64", format: "file" });
  t.is(readFileSync(library.pathOf(state.digest), "utf8"), "what is to be copied");
  t.like(library.list(), [{ name: "motd", isMissing: undefined }]);
});

test("what is there stays: keys, newer leases and images; a journal is never replaced", async (t) => {
  const { root, state, path } = begin(t);
  const stateDirectory = join(root, "state");
  cpSync(state.directory, stateDirectory, { recursive: true });
  const error = await t.throwsAsync(restore({ path, stateDirectory, clock, log }), {
    instanceOf: ConflictError,
  });
  t.regex(error?.message ?? "", /has a journal.*move .*marcoboot\.db\* away/);
  for (const name of readdirSync(stateDirectory).filter((one) => one.startsWith("marcoboot.db"))) {
    rmSync(join(stateDirectory, name));
  }
  writeFileSync(join(stateDirectory, "leases"), "newer");
  const end = await lockState(stateDirectory, clock);
  await t.throwsAsync(restore({ path, stateDirectory, clock, log }), { message: /another server/ });
  end();
  await restore({ path, stateDirectory, clock, log });
  t.is(readFileSync(join(stateDirectory, "leases"), "utf8"), "newer");
  t.true(existsSync(join(stateDirectory, "marcoboot.db")));
});

test("D44: the settings are in it without a password, and come back beside the journal, where they replace nothing", async (t) => {
  const { root, state, keysPath } = begin(t);
  const stateDirectory = join(root, "state");
  cpSync(state.directory, stateDirectory, { recursive: true });
  const from = join(root, "marcoboot.yaml");
  const text = "subnets: []\nredisUrl: redis://";
  writeFileSync(from, `${text}:canary@10.0.0.9\n`);
  await noteSettings(stateDirectory, from);
  const path = join(root, "with-settings.backup");
  const { contents } = await backUpState({ stateDirectory, path, clock, withImages: false });
  t.is(contents.settings, from);

  const restored = (name: string) =>
    restore({ path, keysPath, stateDirectory: join(root, name), clock, log });
  const settingsOf = (name: string) => readFileSync(join(root, name, "server.yaml"), "utf8");
  const first = join(root, "first", "server.yaml");
  t.deepEqual((await restored("first")).settings, { from, isThere: true, path: first });
  t.is(settingsOf("first"), `${text}LEFT-OUT@10.0.0.9\n`);

  rmSync(from);
  mkdirSync(join(root, "second"));
  writeFileSync(join(root, "second", "server.yaml"), "mine");
  t.deepEqual((await restored("second")).settings, { from, isThere: false });
  t.is(settingsOf("second"), "mine");

  writeFileSync(from, settingsOf("first"));
  t.is((await restored("third")).settings, undefined, "they are as they were");
  t.false(existsSync(join(root, "third", "server.yaml")));
});

test("refused with the remedy, and nothing is left: no keys, keys of another site, one backup for the other", async (t) => {
  const one = begin(t);
  const other = await makeOtherKeys(one.root);
  const attempts = [
    [{ path: one.path }, /keys of site \w+ are not in .*--keys/],
    [{ path: one.path, keysPath: other }, /are of site \w+, the backup is of site \w+/],
    [{ path: one.keysPath }, /it is of the keys, not of the state/],
    [{ path: one.path, keysPath: one.path }, /it is of the state, not of the keys/],
    [{ path: join(one.root, "nowhere") }, /cannot be used as a backup.*no such file/],
  ] as const;
  for (const [files, reason] of attempts) {
    const attempt = restore({ ...files, stateDirectory: one.fresh, clock, log });
    const error = await t.throwsAsync(attempt, { instanceOf: ConfigurationError });
    t.regex(error?.message ?? "", reason);
    t.false(existsSync(one.fresh));
  }
});

async function makeOtherKeys(root: string): Promise<string> {
  const stateDirectory = join(root, "other");
  await openSite(join(stateDirectory, "keys"));
  const path = join(root, "other.keys");
  await backUpKeys({ stateDirectory, path, clock });
  return path;
}

test("a trial says what would be, and leaves nothing", async (t) => {
  const { path, keysPath, fresh } = begin(t);
  const asked = { path, keysPath, stateDirectory: fresh, isTrial: true, clock, log };
  t.like(await restore(asked), { nodes: 2, jobs: 1 });
  t.false(existsSync(fresh));
});

test("D44: one changed octet anywhere, or a cut: refused, or nothing of it was lost", async (t) => {
  const { root, path, contents } = begin(t);
  const whole = readFileSync(path);
  const random = createRandom(44);
  const damaged = join(root, "damaged.backup");
  let refused = 0;
  for (let round = 0; round < 200; round++) {
    const at = random.below(whole.length);
    const octets = Buffer.from(whole);
    octets[at] = (octets[at] ?? 0) ^ (1 << random.below(8));
    writeFileSync(damaged, round % 2 === 0 ? octets : whole.subarray(0, at));
    try {
      t.deepEqual(await readArchive(damaged), contents, `round ${round}, octet ${at}`);
    } catch (error) {
      t.true(error instanceof ConfigurationError, `round ${round}: ${String(error)}`);
      refused += 1;
    }
  }
  t.true(refused > 150, `${refused}`);
});

test("a file that is no backup is not written over, a backup is", async (t) => {
  const { root, state, contents } = begin(t);
  const path = join(root, "rack.backup");
  cpSync(made.path, path);
  const mine = join(root, "server.yaml");
  writeFileSync(mine, "subnets: []\n");
  const request = { stateDirectory: state.directory, clock, withImages: false };
  await t.throwsAsync(backUpState({ ...request, path: mine }), { instanceOf: ConflictError });
  t.is(readFileSync(mine, "utf8"), "subnets: []\n");
  await backUpState({ ...request, path });
  t.is(readFileSync(join(state.directory, "backed-up"), "utf8"), `${path}\n`, "for the doctor");
  t.true((await readArchive(path)).members.length < contents.members.length);
  t.deepEqual(
    readdirSync(root).filter((name) => /\.(part|work)$/.test(name)),
    [],
  );
});

test("a server does not start beside a restore that was cut off", (t) => {
  const directory = temporaryDirectory(t);
  refuseHalfRestored(directory);
  mkdirSync(join(directory, "restoring"));
  t.throws(() => refuseHalfRestored(directory), {
    message: /run `marcoboot backup restore` again/,
  });
  writeFileSync(join(directory, "marcoboot.db"), "");
  t.notThrows(() => refuseHalfRestored(directory), "all of it was in its place by then");
});

test("on the command line: create, keys, show, restore", async (t) => {
  const { root, state, fresh } = begin(t);
  const environment = { MARCOBOOT_STATE: state.directory };
  const backup = join(root, "a.backup");
  const keys = join(root, "a.keys");
  const call = (...words: string[]) => run(["backup", ...words], undefined, { environment });
  const from = join(root, "marcoboot.yaml");
  writeFileSync(from, "subnets: []\n");
  t.regex((await call("create", backup)).err, /the settings are not in it/);
  await noteSettings(state.directory, from);
  t.teardown(() => rmSync(join(state.directory, "settings-from")));
  t.regex((await call("create", backup)).err, new RegExp(`the settings are in it: ${from}`));
  rmSync(from);
  t.like(await call("keys", keys), { code: 0 });
  t.regex((await call("show", backup)).out, /^marcoboot\.db\t.*\nleases\t.*\nserver\.yaml\t/);
  const trial = await call("restore", backup, "--keys", keys, "--state", fresh, "--dry-run");
  t.like(trial, { code: 0 });
  t.regex(trial.out, /could be restored to .*: 2 nodes, 1 user/);
  const done = await call("restore", backup, "--keys", keys, "--state", fresh);
  t.like(done, { code: 0 });
  t.regex(done.err, new RegExp(`nothing is there now: .cp ${fresh}/server.yaml ${from}`));
  t.regex(done.err, /image motd .* push it again.*\n1 job had not ended/);
  const again = await call("restore", backup, "--keys", keys, "--state", fresh);
  t.like(again, { code: 1 });
  t.regex(again.err, /^error: .* has a journal/);
});
