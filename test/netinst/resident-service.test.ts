/** What starts the agent on an installed system: the units, and the script of System V's init, which is run. */

import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { openRootTree } from "../../netinst/root-tree.ts";
import { startAgentAtBoot } from "../../netinst/steps/resident-service.ts";
import { temporaryDirectory } from "../support/temporary.ts";

function treeWith(t: ExecutionContext, directories: readonly string[]): string {
  const root = temporaryDirectory(t);
  for (const path of directories) mkdirSync(join(root, path), { recursive: true });
  return root;
}

test("with systemd there are two units, both wanted", (t) => {
  const root = treeWith(t, ["etc/init.d", "etc/rc2.d", "usr/lib/systemd/system"]);
  writeFileSync(join(root, "usr/lib/systemd/systemd"), "");
  t.is(startAgentAtBoot(openRootTree(root)), "systemd");
  const wanted = join(root, "etc/systemd/system/multi-user.target.wants");
  for (const unit of ["var-lib-marcoboot-agent.mount", "marcoboot-agent.service"]) {
    t.is(readlinkSync(join(wanted, unit)), `/etc/systemd/system/${unit}`);
  }
  t.false(existsSync(join(root, "etc/init.d/marcoboot-agent")));
});

test("with System V's init there is a script, linked into the run levels", (t) => {
  const levels = ["0", "1", "2", "3", "4", "5", "6"].map((level) => `etc/rc${level}.d`);
  const root = treeWith(t, ["etc/init.d", ...levels]);
  t.is(startAgentAtBoot(openRootTree(root)), "sysv-init");
  t.is(statSync(join(root, "etc/init.d/marcoboot-agent")).mode & 0o777, 0o755);
  t.is(readlinkSync(join(root, "etc/rc2.d/S99marcoboot-agent")), "../init.d/marcoboot-agent");
  t.is(readlinkSync(join(root, "etc/rc6.d/K01marcoboot-agent")), "../init.d/marcoboot-agent");
});

test("a system with neither is told", (t) => {
  t.is(startAgentAtBoot(openRootTree(treeWith(t, ["etc"]))), undefined);
});

test("the script starts the agent, again when it ended, and ends it", async (t) => {
  const root = treeWith(t, ["etc/init.d", "etc/rc2.d", "home/agent", "run"]);
  startAgentAtBoot(openRootTree(root));
  const at = (name: string) => join(root, name);
  // Says its number, and what it was called with.
  const agent = `#!/bin/sh\necho "$$ $*" >>${at("run/agents")}\nexec sleep 300\n`;
  writeFileSync(at("home/agent/run"), agent, { mode: 0o755 });
  const service = (verb: string) =>
    spawnSync("sh", [at("etc/init.d/marcoboot-agent"), verb], {
      encoding: "utf8",
      env: {
        PATH: process.env["PATH"],
        MARCOBOOT_HOME: at("home"),
        MARCOBOOT_PID_FILE: at("run/pid"),
        MARCOBOOT_LOG_FILE: at("run/log"),
      },
    });
  t.teardown(() => service("stop"));
  const agents = () => {
    const lines = existsSync(at("run/agents")) ? readFileSync(at("run/agents"), "utf8") : "";
    return lines.split("\n").filter((line) => line !== "");
  };
  const until = async (holds: () => boolean) => {
    for (let turn = 0; turn < 600 && !holds(); turn++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    t.true(holds());
  };
  t.is(service("status").status, 3);
  t.is(service("start").status, 0);
  await until(() => agents().length === 1);
  t.regex(agents()[0] ?? "", /^\d+ --role resident$/);
  t.is(service("start").status, 0, "a second start changes nothing");
  t.is(service("status").stdout, "marcoboot-agent runs\n");
  process.kill(Number.parseInt(agents()[0] ?? "", 10));
  await until(() => agents().length === 2);
  const last = Number.parseInt(agents()[1] ?? "", 10);
  t.is(service("stop").status, 0);
  await until(() => !isAlive(last));
  t.is(agents().length, 2);
  t.is(service("status").status, 3);
  t.is(service("nonsense").status, 2);
});

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
