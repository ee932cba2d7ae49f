/**
 * First step of every npm script, in plain JavaScript for the Node that the
 * machine already has (18 or newer): installs the npm packages when they are
 * missing or the lock file changed, then runs the given script with the pinned
 * Node 26 from node_modules.
 *
 *   node scripts/bootstrap.mjs <script.ts> [arguments…]
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { constants, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const modules = join(root, "node_modules");
const node = join(modules, "node", "bin", "node");
const stamp = join(modules, ".marcoboot-lock");

/** The one Debian package that Node 26 itself cannot start without; `npm run setup` gets the others. */
const library = { file: "libatomic.so.1", package: "libatomic1" };

function installLibrary() {
  const folders = ["/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib"];
  const known = folders.flatMap((folder) => [folder, ...subfolders(folder)]);
  if (known.some((folder) => existsSync(join(folder, library.file)))) return;
  const remedy = `as root: apt-get install ${library.package} (or what brings ${library.file} elsewhere)`;
  if (process.getuid?.() !== 0) fail(`Node 26 needs ${library.file}, which is not there`, remedy);
  process.stderr.write(
    `setup: installing the Debian package ${library.package}, which Node 26 needs\n`,
  );
  const apt = (...args) => spawnSync("apt-get", ["-qq", ...args], { stdio: ["ignore", 2, 2] });
  if (apt("install", "-y", library.package).status !== 0) {
    apt("update");
    apt("install", "-y", library.package);
  }
  if (!known.some((folder) => existsSync(join(folder, library.file)))) {
    fail(`${library.package} could not be installed`, remedy);
  }
}

function subfolders(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name.includes("-linux-gnu"))
    .map((entry) => join(folder, entry.name));
}

function installPackages() {
  const digest = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  if (existsSync(node) && existsSync(stamp) && readFileSync(stamp, "utf8") === digest) return;
  installLibrary();
  process.stderr.write("setup: installing npm packages (once; about a minute)\n");
  const first = mkdtempSync(join(tmpdir(), "marcoboot-node-"));
  try {
    // npm leaves out optional packages whose `engines` the running Node does not meet, native
    // bindings among them: it has to run on Node 26 itself, which it fetches alone first.
    const old = Number(process.versions.node.split(".")[0]) < 26;
    if (old) install(["--prefix", first, `node@${nodeVersion()}`], process.env.PATH);
    const path = `${join(first, "node_modules", ".bin")}:${process.env.PATH}`;
    // Not `npm ci`: from npm 11 on it refuses a lock file that lacks optional packages of other
    // platforms. This takes the locked versions just so, and leaves both files as they are.
    // No package's install script is run but that of node, below: ssh2's would start a compiler.
    install(["--no-save", "--ignore-scripts"], old ? path : process.env.PATH);
  } finally {
    rmSync(first, { recursive: true, force: true });
  }
  if (!existsSync(node)) {
    spawnSync("npm", ["rebuild", "node", "--foreground-scripts"], {
      cwd: root,
      stdio: ["ignore", 2, 2],
    });
  }
  if (!existsSync(node)) fail("npm package node@26 brought no binary", "npm rebuild node");
  mkdirSync(modules, { recursive: true });
  writeFileSync(stamp, digest);
}

function nodeVersion() {
  return JSON.parse(readFileSync(join(root, "package.json"), "utf8")).dependencies.node;
}

function install(args, path) {
  const npm = spawnSync(
    "npm",
    ["install", ...args, "--no-audit", "--no-fund", "--loglevel=error"],
    {
      cwd: root,
      stdio: ["ignore", 2, 2],
      env: { ...process.env, PATH: path },
    },
  );
  if (npm.error)
    fail(`npm could not be started: ${npm.error.message}`, "install npm (Debian package npm)");
  if (npm.status !== 0)
    fail(
      `npm install ended with ${npm.status}`,
      "read the lines above; a registry must be reachable",
    );
}

function fail(what, remedy) {
  process.stderr.write(`error: ${what}\nhint: ${remedy}\n`);
  process.exit(1);
}

const [script, ...args] = process.argv.slice(2);
if (!script) fail("no script named", "node scripts/bootstrap.mjs <script.ts>");
installPackages();
const child = spawn(node, [resolve(root, script), ...args], {
  stdio: "inherit",
  env: { ...process.env, PATH: `${join(modules, ".bin")}:${process.env.PATH}` },
});
// Ctrl-C reaches the child through the terminal's process group; a signal to this process alone is passed on.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => {
    if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
  });
}
child.on("exit", (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 1)));
