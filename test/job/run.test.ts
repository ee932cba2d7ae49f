/** The kind `run`: by the agent where one calls, by SSH else, and never twice. */

import test from "ava";
import { commandParameters } from "../../server/job/commands.ts";
import type { Shell } from "../../server/ssh/shell.ts";
import { settle } from "../support/manual-clock.ts";
import { createRig } from "./rig.ts";

const request = {
  kind: "run",
  parameters: { argv: ["apt-get", "update"], timeoutSeconds: 60 },
} as const;

test("the agent runs it; its end is the task's, its lines are the log", async (t) => {
  const rig = await createRig();
  await rig.checkIn("resident", "disk-1");
  await rig.create(request);
  t.like(rig.order(), { action: "run", argv: ["apt-get", "update"], timeoutSeconds: 60, epoch: 1 });
  const report = { stage: "executing", percent: 0, bootId: "disk-1" } as const;
  await rig.report({ ...report, status: "running", log: ["Hit:1 mirror"] });
  t.like(rig.task(), { state: "running", stage: "executing" });
  await rig.report({ ...report, status: "done" });
  t.is(rig.task().state, "done");
  t.deepEqual(
    rig.store.tasks.log(rig.task().id).map(({ line }) => line),
    ["Hit:1 mirror"],
  );
});

test("what failed, or broke off with the node, is not run again", async (t) => {
  const failed = await createRig();
  await failed.checkIn("resident", "disk-1");
  await failed.create(request);
  const reason = "exit status 100: no mirror";
  await failed.report({
    ...{ status: "failed", stage: "executing", percent: 0, bootId: "disk-1" },
    ...{ reason, retryable: false },
  });
  t.like(failed.task(), { state: "failed", reason, epoch: 1 });

  const restarted = await createRig();
  await restarted.checkIn("resident", "disk-1");
  await restarted.create(request);
  await restarted.checkIn("resident", "disk-2");
  t.like(restarted.task(), { state: "failed", reason: "the node restarted meanwhile", epoch: 1 });
});

test("a server that restarts meanwhile waits for the same attempt of the agent", async (t) => {
  const before = await createRig();
  await before.checkIn("resident", "disk-1");
  await before.create(request);
  before.order();
  await before.jobs.close();
  const rig = await before.restart();
  await rig.report({ status: "done", stage: "executing", percent: 100, bootId: "disk-1" });
  t.like(rig.task(), { state: "done", epoch: 1 });
});

test("netinst runs no commands, and a node without a recorded host key is not reached by SSH", async (t) => {
  const netinst = await createRig();
  await netinst.checkIn("netinst", "net-1");
  await netinst.create(request);
  t.regex(netinst.task().reason ?? "", /is in netinst: no system runs there/);
  const offline = await createRig();
  await offline.create(request);
  t.regex(offline.task().reason ?? "", /is offline, and no SSH host key of it was recorded/);
});

/** A node without an agent, and an SSH server that does what the test says. */
async function bySsh(run: Shell["run"]) {
  const shell: Shell = { run, write: async () => undefined, close: () => undefined };
  const rig = await createRig();
  rig.shell = shell;
  rig.nodes.update(rig.node.id, { sshHostKeys: ["SHA256:abc"] });
  await rig.create(request);
  return rig;
}

test("without an agent it runs by SSH", async (t) => {
  const rig = await bySsh(async (argv, onLine) => {
    onLine(`ran ${argv.join(" ")}`);
    return { code: 0 };
  });
  await settle();
  t.is(rig.task().state, "done");
  t.deepEqual(
    rig.store.tasks.log(rig.task().id).map(({ line }) => line),
    ["ran apt-get update"],
  );
  const failing = await bySsh(async (_argv, onLine) => {
    onLine("no mirror");
    return { code: 100 };
  });
  await settle();
  t.like(failing.task(), { state: "failed", reason: "exit status 100: no mirror", epoch: 1 });
});

test("cancelled, it is ended over SSH too", async (t) => {
  let reason: unknown;
  const rig = await bySsh(
    (_argv, _onLine, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => {
          reason = signal.reason;
          reject(signal.reason);
        });
      }),
  );
  await settle();
  t.is(rig.task().stage, "executing-by-ssh");
  rig.jobs.cancel(rig.task().jobId, "ada");
  await settle();
  t.is(rig.task().state, "cancelled");
  t.truthy(reason);
});

test("a server that was killed while it ran by SSH does not run it again", async (t) => {
  const before = await bySsh((_argv, _onLine, signal) => {
    return new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
    });
  });
  await settle();
  await before.jobs.close();
  const rig = await before.restart();
  await settle();
  t.like(rig.task(), {
    state: "failed",
    reason: "the server was restarted while it ran",
    epoch: 1,
  });
});

const commands = {
  "apt-install": {
    argv: ["apt-get", "-y", "install", "{package}"],
    values: { package: "[a-z0-9.+-]+" },
    timeoutSeconds: 900,
  },
};

test("a command's values fill whole arguments, and fit their patterns", (t) => {
  t.deepEqual(
    commandParameters({ command: "apt-install", values: { package: "htop" } }, commands),
    {
      command: "apt-install",
      argv: ["apt-get", "-y", "install", "htop"],
      timeoutSeconds: 900,
    },
  );
  const wrong = [
    [{ command: "apt-install", values: { package: "a; rm -rf /" } }, /does not fit/],
    [{ command: "apt-install", values: { package: "htop\n" } }, /does not fit/],
    [{ command: "apt-install", values: { package: ["htop"] } }, /not a text/],
    [{ command: "apt-install", values: "htop" }, /not an object/],
    [{ command: "apt-install" }, /needs the value package/],
    [{ command: "apt-install", values: { package: "a", more: "b" } }, /takes no value more/],
    [{ command: "apt-install", argv: ["id"] }, /has its own argv/],
    [{ command: "apt-remove" }, /no command "apt-remove"; configured: apt-install/],
    [{ command: "constructor" }, /no command "constructor"/],
    [{ argv: ["id"], values: {} }, /values belong to a named command/],
  ] as const;
  for (const [parameters, message] of wrong) {
    t.throws(() => commandParameters(parameters, commands), { message });
  }
});
