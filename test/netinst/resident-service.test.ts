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

test("with systemd there is a unit, which is wanted, and runs the script", (t) => {
  const root = treeWith(t, ["etc/init.d", "etc/rc2.d", "usr/lib/systemd/system"]);
  writeFileSync(join(root, "usr/lib/systemd/systemd"), "");
  t.is(startAgentAtBoot(openRootTree(root)), "systemd");
  const wanted = join(root, "etc/systemd/system/multi-user.target.wants");
  const unit = "marcoboot-agent.service";
  t.is(readlinkSync(join(wanted, unit)), `/etc/systemd/system/${unit}`);
  t.regex(readFileSync(join(wanted, "..", unit), "utf8"), /^ExecStart=\/bin\/sh \S+\/start$/m);
  t.is(statSync(join(root, "var/lib/marcoboot/start")).mode & 0o777, 0o755);
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

/** An installed system whose squashfs are scripts: `mount` lays them where the real one has `run`. */
function makeService(t: ExecutionContext, trialSeconds = 60) {
  const root = treeWith(t, ["etc/init.d", "etc/rc2.d", "var/lib/marcoboot/agent", "run", "bin"]);
  startAgentAtBoot(openRootTree(root));
  const at = (name: string) => join(root, name);
  const home = at("var/lib/marcoboot");
  const program = (name: string, text: string) =>
    writeFileSync(at(`bin/${name}`), text, { mode: 0o755 });
  program("mount", `#!/bin/sh\ncp "$5" "$6/run" && chmod 755 "$6/run"\n`);
  program("umount", `#!/bin/sh\n[ -e "$1/run" ] && rm "$1/run"\n`);
  // The time of a trial begins when its agent has spoken, however busy the machine is.
  const spoken = `[ -s ${at("run/agents")} ]`;
  program("sleep", `#!/bin/sh\nuntil ${spoken}; do /bin/sleep 0.1; done\nexec /bin/sleep "$@"\n`);
  /** Says its number, how it was called, and does the rest. */
  const agent = (name: string, file: string, then: string) =>
    writeFileSync(
      join(home, file),
      `#!/bin/sh\necho "${name} $$ $*" >>${at("run/agents")}\n${then}\n`,
    );
  agent("old", "agent.squashfs", "exec sleep 300");
  const service = (verb: string) =>
    spawnSync("sh", [at("etc/init.d/marcoboot-agent"), verb], {
      encoding: "utf8",
      env: {
        PATH: `${at("bin")}:${process.env["PATH"]}`,
        MARCOBOOT_HOME: home,
        MARCOBOOT_PID_FILE: at("run/pid"),
        MARCOBOOT_LOG_FILE: at("run/log"),
        MARCOBOOT_TRIAL_SECONDS: String(trialSeconds),
      },
    });
  t.teardown(() => service("stop"));
  const lines = (name: string) =>
    existsSync(at(name)) ? readFileSync(at(name), "utf8").trim().split("\n") : [];
  const agents = () => lines("run/agents");
  const numberOf = (line: string | undefined) => Number.parseInt(line?.split(" ")[1] ?? "", 10);
  const until = async (holds: () => boolean) => {
    for (let turn = 0; turn < 1200 && !holds(); turn++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    t.true(holds(), agents().join("; "));
  };
  /** `old next old`: who was started, in order. */
  const started = () =>
    agents()
      .map((line) => line.split(" ")[0])
      .join(" ");
  return {
    at,
    home,
    agent,
    service,
    agents,
    started,
    numberOf,
    until,
    said: () => lines("run/log"),
  };
}

test("the script starts the agent, again when it ended, and ends it", async (t) => {
  const { home, service, agents, numberOf, until } = makeService(t);
  t.is(service("status").status, 3);
  t.is(service("start").status, 0);
  await until(() => agents().length === 1);
  t.regex(agents()[0] ?? "", new RegExp(`^old \\d+ --role resident --home ${home}$`));
  t.is(service("start").status, 0, "a second start changes nothing");
  t.is(service("status").stdout, "marcoboot-agent runs\n");
  process.kill(numberOf(agents()[0]));
  await until(() => agents().length === 2);
  const last = numberOf(agents()[1]);
  t.is(service("stop").status, 0);
  await until(() => !isAlive(last));
  t.is(agents().length, 2);
  t.is(service("status").status, 3);
  t.is(service("nonsense").status, 2);
});

const keeps = "mv next.squashfs agent.squashfs; rm next.running";

test("a new agent that calls is the one from then on, and is followed by the next", async (t) => {
  const { home, agent, service, agents, started, numberOf, until } = makeService(t);
  service("start");
  await until(() => started() === "old");
  agent("new", "next.squashfs", `${keeps}; exec sleep 300`);
  process.kill(numberOf(agents()[0]));
  await until(() => started() === "old new");
  t.regex(agents()[1] ?? "", / --trial$/);
  await until(() => !existsSync(join(home, "next.running")));
  agent("newer", "next.squashfs", `${keeps}; exec sleep 300`);
  process.kill(numberOf(agents()[1]));
  await until(() => started() === "old new newer");
  await until(() => !existsSync(join(home, "next.running")));
  process.kill(numberOf(agents()[2]));
  await until(() => started() === "old new newer newer");
  t.notRegex(agents()[3] ?? "", /--trial/);
});

test("one that ends without having called is tried once, and the one before goes on", async (t) => {
  const { home, agent, service, started, until, said } = makeService(t);
  agent("broken", "next.squashfs", "exit 1");
  service("start");
  await until(() => started() === "broken old");
  t.false(existsSync(join(home, "next.squashfs")));
  t.false(existsSync(join(home, "next.running")));
  t.deepEqual(said(), ["the new agent did not call: going on with the one before"]);
});

test("one that hangs is ended when its time is over", async (t) => {
  const { agent, service, agents, started, numberOf, until } = makeService(t, 1);
  agent("hanging", "next.squashfs", "trap '' TERM; while :; do sleep 1; done");
  service("start");
  await until(() => started() === "hanging old");
  t.false(isAlive(numberOf(agents()[0])));
});

test("one whose machine went down under it is not tried again by itself", async (t) => {
  const { home, agent, service, started, until } = makeService(t);
  agent("deadly", "next.squashfs", "exit 0");
  writeFileSync(join(home, "next.running"), "");
  service("start");
  await until(() => started() === "old");
  t.false(existsSync(join(home, "next.squashfs")));
});

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
