/** What makes a checkout a service: the unit, and the command line from anywhere. */

import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { temporaryDirectory } from "../support/temporary.ts";

const root = join(import.meta.dirname, "..", "..");
const hasSystemd = spawnSync("systemd-analyze", ["--version"]).status === 0;
const systemd = hasSystemd ? test : test.skip;
if (!hasSystemd) console.warn("skipped: systemd-analyze is not here");

systemd("systemd finds nothing wrong with the unit", (t) => {
  const unit = readFileSync(join(root, "server/marcoboot.service"), "utf8");
  const path = join(temporaryDirectory(t), "marcoboot.service");
  writeFileSync(path, unit.replaceAll("/opt/marcoboot", root));
  const { status, stderr } = spawnSync("systemd-analyze", ["verify", path], { encoding: "utf8" });
  t.deepEqual(
    stderr.split("\n").filter((line) => line.includes("marcoboot.service")),
    [],
  );
  t.is(status, 0);
});

test("the command line runs by a link, from another directory, with hardly an environment", (t) => {
  const directory = temporaryDirectory(t);
  const link = join(directory, "marcoboot");
  symlinkSync(join(root, "server/marcoboot"), link);
  const said = execFileSync(link, ["backup", "create", "--help"], {
    cwd: directory,
    env: { PATH: "/usr/bin:/bin" },
    encoding: "utf8",
  });
  t.regex(said, /^marcoboot backup create FILE/);
});
