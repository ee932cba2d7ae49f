import test from "ava";
import { parseMacAddress } from "#protocol/brand.ts";
import type { Disk, Hardware, Node } from "#protocol/node.ts";
import type { Rule } from "#protocol/rule.ts";
import { UnavailableError } from "../../server/errors.ts";
import { silentLog } from "../../server/log.ts";
import { createRules, type Rules } from "../../server/rule/rules.ts";
import { address, createRig, image, type Rig } from "../job/rig.ts";
import { settle } from "../support/manual-clock.ts";

const disk: Disk = {
  name: "vda",
  sizeBytes: 64e9,
  removable: false,
  contents: { kind: "blank", text: "nothing" },
};
const hardware: Hardware = {
  model: "virtual",
  cpus: 1,
  memoryMiB: 1024,
  disks: [disk],
  interfaces: [],
};
const rule: Rule = {
  name: "usual",
  match: {},
  image: "debian",
  authorizedKeys: ["ssh-ed25519 A a"],
};

interface RuleRig {
  readonly rig: Rig;
  readonly rules: Rules;
  whyWait: string | undefined;
  /** The agent in netinst calls from the boot `bootId`. */
  call(bootId?: string, disks?: readonly Disk[]): Promise<Node>;
  installs(): number;
}

/** A node that has enrolled in its slot and not called yet. */
async function ruleRig(wanted: readonly Rule[], started?: Rig): Promise<RuleRig> {
  const rig = started ?? (await createRig());
  const { store, nodes, clock } = rig;
  store.images.put(image);
  const self: RuleRig = {
    rig,
    rules: createRules({
      store,
      jobs: rig.jobs,
      whyWait: () => self.whyWait,
      clock,
      log: silentLog,
    }),
    whyWait: undefined,
    async call(bootId = "netinst-1", disks = [disk]) {
      const usual = { version: "0.1.0", uptimeSeconds: 1, usedMemoryMiB: 1, hostname: "netinst" };
      const found = { ...hardware, disks };
      nodes.checkIn(rig.node.id, { ...usual, role: "netinst", bootId, hardware: found }, address);
      await settle();
      return rig.node;
    },
    installs: () => store.jobs.list({ limit: 9 }).filter(({ kind }) => kind === "install").length,
  };
  nodes.admitBy(self.rules.admit);
  if (!started) for (const one of wanted) self.rules.add(one);
  return self;
}

test("a node that calls for the first time is installed by its rule, without another reboot", async (t) => {
  const { rig, call, installs } = await ruleRig([rule]);
  const node = await call();
  t.is(installs(), 1);
  t.like(node.rule, { name: "usual", text: "rule usual installs debian on vda" });
  t.like(rig.order(), {
    action: "install",
    authorizedKeys: ["ssh-ed25519 A a"],
    guard: { protectedSerials: [], onlyOver: [] },
  });
  t.deepEqual(rig.verbs, []);
  t.like(
    rig.store.audit.list({ limit: 9 }).find(({ what }) => what === "job install"),
    {
      who: "rule:usual",
      target: node.rule?.jobId,
    },
  );
});

test("it is done once: neither another boot nor another enrolment makes a second job", async (t) => {
  const { rig, call, installs } = await ruleRig([rule]);
  const { rule: outcome } = await call();
  rig.jobs.cancel(outcome?.jobId ?? t.fail() ?? ("" as never), "ada");
  await settle();
  t.is(rig.node.state, "ready");
  await call("netinst-2");
  rig.nodes.enrolled(rig.node.id, { certificate: "other", architecture: "amd64", hardware });
  await call("netinst-3");
  t.is(installs(), 1);
});

test("a board that was retired and comes back is asked about anew", async (t) => {
  const { rig, rules, call } = await ruleRig([]);
  t.is((await call()).rule?.text, "no rule matches: it is left alone");
  rules.add(rule);
  t.is((await call("netinst-2")).rule?.text, "no rule matches: it is left alone");
  const { id, mac } = rig.node;
  rig.nodes.retire(id);
  rig.nodes.place(mac, { rack: "lab", stack: "a", slot: "1" }, "lab-a-1", address);
  rig.nodes.enrolled(id, { certificate: "other", architecture: "amd64", hardware });
  t.like((await call("netinst-3")).rule, { name: "usual" });
});

test("without a rule the node is ready, and nothing is written", async (t) => {
  const { call, installs } = await ruleRig([]);
  t.like(await call(), { state: "ready", rule: { text: "no rule matches: it is left alone" } });
  t.is(installs(), 0);
});

test("somebody's data on the disk: the node is ready, and told why nothing is installed", async (t) => {
  const { call, installs } = await ruleRig([rule]);
  const used: Disk = { ...disk, contents: { kind: "known", text: "NTFS on the whole disk" } };
  const node = await call("netinst-1", [used]);
  t.is(node.state, "ready");
  t.regex(node.rule?.text ?? "", /disk vda holds NTFS on the whole disk, which was not installed/);
  t.is(installs(), 0);
});

test("a node waits as long as it must, says why once, and its next sign of life asks again", async (t) => {
  const self = await ruleRig([rule]);
  const { nodes, node: first } = self.rig;
  self.whyWait = "its rack is being learned";
  await self.call();
  const waiting = self.rig.node;
  t.like(waiting, {
    state: "enrolled",
    rule: { text: "rule usual waits: its rack is being learned" },
  });
  nodes.heartbeat(first.id);
  t.is(self.rig.node.updatedAt, waiting.updatedAt);
  self.whyWait = "its slot is not confirmed";
  nodes.heartbeat(first.id);
  t.is(self.rig.node.rule?.text, "rule usual waits: its slot is not confirmed");
  t.is(self.installs(), 0);
  self.whyWait = undefined;
  nodes.heartbeat(first.id);
  await settle();
  t.is(self.installs(), 1);
  t.like(self.rig.node.rule, { text: "rule usual installs debian on vda" });
});

test("nothing is installed on a node that is only heard, in no slot, or held back", async (t) => {
  const { rig, call, installs } = await ruleRig([rule]);
  const { nodes } = rig;
  const heard = { ipxe: false, architectures: [0], firmware: "bios-pxe" } as const;
  nodes.heard({ ...heard, mac: parseMacAddress("52:54:00:00:00:0a") });
  const stray = nodes.heard({ ...heard, mac: parseMacAddress("52:54:00:00:00:0b") });
  nodes.enrolled(stray.id, { certificate: "stray", architecture: "amd64", hardware });
  const usual = { version: "0.1.0", uptimeSeconds: 1, usedMemoryMiB: 1, hostname: "netinst" };
  nodes.checkIn(stray.id, { ...usual, role: "netinst", bootId: "b", hardware }, address);
  nodes.quarantine(rig.node.id, "two computers with one MAC address");
  await call();
  t.deepEqual(
    nodes.list().map(({ state, rule: outcome }) => [state, outcome]),
    [
      ["enrolled", undefined],
      ["discovered", undefined],
      ["enrolled", undefined],
    ],
  );
  t.is(installs(), 0);
  nodes.place(stray.mac, { rack: "lab", stack: "a", slot: "2" }, "lab-a-2", address);
  nodes.heartbeat(stray.id);
  await settle();
  t.is(installs(), 1);
});

test("a node that no rule matches waits for nothing", async (t) => {
  const self = await ruleRig([]);
  self.whyWait = "its rack is being learned";
  t.is((await self.call()).state, "ready");
});

test("a burn-in that was passed counts, though its rack is learned again meanwhile", async (t) => {
  const self = await ruleRig([tested]);
  await self.call();
  await self.rig.clock.advance(60_000);
  const burnIn = { seconds: 60, results: passed };
  self.whyWait = "its rack is being learned";
  await self.rig.report({ stage: "testing", status: "done", burnIn });
  t.like(await self.call(), { state: "enrolled", rule: { isWaiting: true } });
  self.whyWait = undefined;
  await self.call();
  t.is(self.installs(), 1);
  t.is(self.rig.store.jobs.list({ limit: 9 }).length, 2);
});

test("a rack's own rules come after the server's, and only for its nodes", async (t) => {
  const { rig, rules, call } = await ruleRig([{ name: "arm", match: { architecture: "arm64" } }]);
  const stacks = [{ name: "a", x: 0, y: 0, slots: [{ name: "1", hostname: "lab-a-1" }] }];
  rig.store.racks.put({ name: "lab", stacks, rules: [{ ...rule, name: "of-lab" }] });
  rig.store.racks.put({ name: "other", stacks, rules: [{ ...rule, name: "of-other" }] });
  t.deepEqual(
    rules.list().map(({ name, origin }) => `${origin} ${name}`),
    ["server arm", "rack:lab of-lab", "rack:other of-other"],
  );
  t.deepEqual(rules.try(rig.node), {
    verdicts: [
      { name: "arm", origin: "server", why: ["it is amd64, not arm64"] },
      { name: "of-lab", origin: "rack:lab", why: [] },
    ],
    text: "rule of-lab matches, but nothing is installed: no fixed disk found; there is: none",
  });
  t.like((await call()).rule, { name: "of-lab", text: "rule of-lab installs debian on vda" });
});

const tested: Rule = { ...rule, burnInSeconds: 60 };
const passed = [{ part: "memory", passed: true, text: "96 MiB" }];

test("a burn-in comes first; the node is ready and installed when it was passed", async (t) => {
  const { rig, call, installs } = await ruleRig([tested]);
  t.like(await call(), { state: "enrolled", rule: { text: "rule usual tests it for 60 s first" } });
  t.like(rig.order(), {
    action: "burn-in",
    seconds: 60,
    writeDisks: true,
    guard: { protectedSerials: [], onlyOver: [] },
  });
  const burnIn = { seconds: 60, results: passed };
  await rig.report({ stage: "testing", status: "done", burnIn });
  await call();
  t.like(rig.node, { burnIn, rule: { text: "rule usual installs debian on vda" } });
  t.is(installs(), 1);
  t.is(rig.order()?.action, "install");
});

test("a node that fails its burn-in is failed, with what was wrong, and not installed", async (t) => {
  const { rig, call, installs } = await ruleRig([tested]);
  await call();
  const results = [
    { part: "memory", passed: false, text: "octet 5: 55 was written, 51 came back" },
  ];
  const reason = "memory: octet 5: 55 was written, 51 came back";
  const burnIn = { seconds: 60, results };
  await rig.report({ stage: "testing", status: "failed", reason, retryable: false, burnIn });
  t.like(rig.node, { state: "failed", reason: `burn-in: ${reason}`, burnIn });
  await call();
  t.is(installs(), 0);
});

test("a node that restarts under the load of its burn-in has failed it", async (t) => {
  const { rig, call } = await ruleRig([tested]);
  await call();
  await call("netinst-2");
  t.like(rig.node, { state: "failed", reason: "burn-in: the node restarted while testing" });
});

test("a burn-in that is called off leaves the node ready, and nothing is installed", async (t) => {
  const { rig, call, installs } = await ruleRig([tested]);
  const { rule: outcome } = await call();
  rig.jobs.cancel(outcome?.jobId ?? t.fail() ?? ("" as never), "ada");
  await settle();
  t.like(await call(), {
    state: "ready",
    rule: { text: "rule usual: its burn-in was called off" },
  });
  t.is(installs(), 0);
});

for (const [title, wanted] of [
  ["an install", rule],
  ["a burn-in", tested],
] as const) {
  test(`killed at every write of ${title} by rule: all of it happens once, or none`, async (t) => {
    let kills = 0;
    for (let at = 1; ; at++) {
      const self = await ruleRig([wanted]);
      const { rig } = self;
      const restore = failAtWrite(rig, at);
      let died = false;
      try {
        await self.call();
      } catch {
        died = true;
      }
      restore();
      const before = rig.store.jobs.list({ limit: 9 });
      if (died) t.deepEqual([rig.node.state, before.length], ["enrolled", 0]);
      const again = await ruleRig([], await rig.restart());
      const node = await again.call();
      const jobs = rig.store.jobs.list({ limit: 9 });
      t.is(jobs.length, 1);
      t.is(rig.store.tasks.ofJob(jobs[0]?.id ?? ("" as never)).length, 1);
      t.is(node.rule?.jobId, jobs[0]?.id);
      await again.rig.jobs.close();
      if (!died) break;
      kills += 1;
    }
    t.true(kills >= 5, `${kills} writes`);
  });
}

/** From its `at`-th write on the journal takes nothing, as one that was killed. */
function failAtWrite({ store }: Rig, at: number): () => void {
  let count = 0;
  const tables = [store.nodes, store.jobs, store.tasks] as readonly { put(row: never): void }[];
  const puts = tables.map((table) => table.put);
  const append = store.audit.append;
  const mortal =
    <Arguments extends readonly unknown[]>(write: (...given: Arguments) => void) =>
    (...given: Arguments) => {
      count += 1;
      if (count >= at) throw new UnavailableError("killed");
      write(...given);
    };
  for (const table of tables) table.put = mortal(table.put);
  store.audit.append = mortal(append);
  return () => {
    for (const [index, table] of tables.entries()) table.put = puts[index] ?? table.put;
    store.audit.append = append;
  };
}

test("rules keep their order; a name is taken once, and one that is not there is told", async (t) => {
  const { rules } = await ruleRig([rule]);
  rules.add({ name: "first", match: {} }, "usual");
  t.deepEqual(
    rules.list().map(({ name }) => name),
    ["first", "usual"],
  );
  t.throws(() => rules.add(rule), { name: "ConflictError", message: /there is a rule usual/ });
  t.throws(() => rules.add({ name: "x", match: {} }, "y"), {
    name: "NotFoundError",
    message: "no rule y; there is: first, usual",
  });
  rules.remove("first");
  t.throws(() => rules.remove("first"), { name: "NotFoundError" });
});
