/** What every journal must do, whatever it is made of: declared once, run for each implementation. */

import test from "ava";
import {
  type Instant,
  type JobId,
  type NodeId,
  parseImageDigest,
  parseIpv4Address,
  parseMacAddress,
  type TaskId,
} from "#protocol/brand.ts";
import type { Image } from "#protocol/image.ts";
import type { Job, Task, TaskState } from "#protocol/job.ts";
import type { LearningRecord } from "#protocol/learning.ts";
import type { Node } from "#protocol/node.ts";
import type { Schedule, Window } from "#protocol/schedule.ts";
import { ConflictError } from "../../server/errors.ts";
import type { Store } from "../../server/store/store.ts";

export const mac = parseMacAddress("52:54:00:00:00:01");
const otherMac = parseMacAddress("52:54:00:00:00:02");
const address = parseIpv4Address("10.77.0.11");
const digest = parseImageDigest("ab".repeat(32));
const at = (value: number) => value as Instant;

export function exampleNode(change: Partial<Node> = {}): Node {
  return {
    id: "node_1" as NodeId,
    name: "one",
    mac,
    state: "ready",
    quarantined: false,
    power: "on",
    connection: "online",
    createdAt: at(1),
    updatedAt: at(1),
    ...change,
  };
}

export function exampleJob(id: string): Job {
  return {
    id: id as JobId,
    kind: "reboot",
    parameters: { warnSeconds: 0 },
    state: "queued",
    selector: "all",
    createdBy: "ada",
    createdAt: at(1),
  };
}

export function exampleTask(id: string, state: TaskState = "queued", node = "node_1"): Task {
  return {
    id: id as TaskId,
    jobId: "job_1" as JobId,
    nodeId: node as NodeId,
    kind: "reboot",
    state,
    epoch: 0,
    percent: 0,
    stageSeconds: {},
    createdAt: at(1),
  };
}

const image: Image = {
  version: 1,
  name: "debian",
  architecture: "amd64",
  format: "raw",
  compression: "none",
  digest,
  sizeBytes: 1,
  storedBytes: 1,
  storedDigest: "cd".repeat(32),
  bootloader: "grub",
  createdAt: at(1),
  signature: "s",
};

const ids = (values: readonly { readonly id: string }[]) => values.map(({ id }) => id);

/** @param open - a new, empty journal */
export function storeContract(name: string, open: () => Store): void {
  const check = (title: string, body: (t: import("ava").ExecutionContext, store: Store) => void) =>
    test(`${name}: ${title}`, (t) => {
      const store = open();
      body(t, store);
      store.close();
    });

  check("a throw undoes the whole transaction", (t, store) => {
    const node = exampleNode();
    t.throws(
      () =>
        store.transaction(() => {
          store.nodes.put(node);
          store.transaction(() => store.jobs.put(exampleJob("job_1")));
          throw new RangeError("no");
        }),
      { instanceOf: RangeError },
    );
    t.deepEqual(store.nodes.list(), []);
    t.deepEqual(store.jobs.list({ limit: 9 }), []);
  });

  check("a throw that the outer change survives undoes only the inner one", (t, store) => {
    const value = store.transaction(() => {
      store.settings.put("outer", "kept");
      t.throws(() =>
        store.transaction(() => {
          store.settings.put("inner", "lost");
          throw new RangeError("no");
        }),
      );
      return 7;
    });
    t.is(value, 7);
    t.is(store.settings.get("outer"), "kept");
    t.is(store.settings.get("inner"), undefined);
  });

  check("a whole has no part that is undone alone, unless that had written nothing", (t, store) => {
    const whole = (part: () => void) =>
      store.transaction(
        () => {
          store.settings.put("outer", "new");
          try {
            store.transaction(part);
          } catch {
            // whoever asked for the part is told
          }
        },
        { isWhole: true },
      );
    const fail = () => {
      throw new RangeError("no");
    };
    whole(fail);
    t.is(store.settings.get("outer"), "new");
    store.settings.put("outer", "old");
    t.throws(
      () =>
        whole(() => {
          store.settings.put("inner", "new");
          fail();
        }),
      { message: /a part of this change failed/ },
    );
    t.is(store.settings.get("outer"), "old");
    t.is(store.settings.get("inner"), undefined);
  });

  check("a whole within a change is undone without what was before it", (t, store) => {
    store.transaction(() => {
      store.settings.put("outer", "kept");
      t.throws(() =>
        store.transaction(
          () => {
            store.transaction(() => store.settings.put("inner", "lost"));
            throw new RangeError("no");
          },
          { isWhole: true },
        ),
      );
      store.transaction(() => store.settings.put("after", "kept"));
    });
    t.deepEqual(["outer", "inner", "after"].map(store.settings.get), ["kept", undefined, "kept"]);
  });

  check(
    "what waits for a commit runs after the outermost one, and not when it is undone",
    (t, store) => {
      const ran: string[] = [];
      store.transaction(() => {
        store.transaction(() =>
          store.afterCommit(() => ran.push(`inner ${store.settings.get("a")}`)),
        );
        t.throws(() =>
          store.transaction(() => {
            store.afterCommit(() => ran.push("undone"));
            throw new RangeError("no");
          }),
        );
        store.settings.put("a", "kept");
        t.deepEqual(ran, []);
      });
      store.afterCommit(() => ran.push("outside"));
      t.deepEqual(ran, ["inner kept", "outside"]);
    },
  );

  check("rules keep their order, and no two share a name", (t, store) => {
    const [first, second] = ["first", "second"].map((name) => ({ name, match: {} }));
    if (!first || !second) return t.fail();
    store.rules.replace([second, first]);
    store.rules.replace([first, second]);
    t.deepEqual(store.rules.list(), [first, second]);
    t.throws(() => store.rules.replace([first, first]), { instanceOf: ConflictError });
    t.deepEqual(store.rules.list(), [first, second]);
  });

  check("a protected disk is known by its serial number until it is released", (t, store) => {
    const disk = { serial: "S1", reason: "archive", by: "ada", at: at(1) };
    store.protectedDisks.put({ ...disk, reason: "" });
    store.protectedDisks.put(disk);
    t.deepEqual(store.protectedDisks.get("S1"), disk);
    t.deepEqual(store.protectedDisks.list(), [disk]);
    store.protectedDisks.delete("S1");
    t.is(store.protectedDisks.get("S1"), undefined);
  });

  check("a node is found by id, MAC address and name, and put again replaces it", (t, store) => {
    store.nodes.put(exampleNode());
    const node = exampleNode({ name: "renamed", state: "installed" });
    store.nodes.put(node);
    t.deepEqual(store.nodes.get(node.id), node);
    t.deepEqual(store.nodes.byMac(mac), node);
    t.deepEqual(store.nodes.byName("renamed"), node);
    t.is(store.nodes.byName("one"), undefined);
    t.deepEqual(store.nodes.list(), [node]);
  });

  const taken: readonly (readonly [title: string, change: Partial<Node>])[] = [
    ["a name", { mac: otherMac }],
    ["a MAC address", { name: "two" }],
  ];
  for (const [title, change] of taken) {
    check(`two nodes cannot share ${title}`, (t, store) => {
      store.nodes.put(exampleNode());
      const second = exampleNode({ id: "node_2" as NodeId, ...change });
      t.throws(() => store.nodes.put(second), { instanceOf: ConflictError });
      t.is(store.nodes.list().length, 1);
    });
  }

  check("two MAC addresses cannot hold one address", (t, store) => {
    const reservation = { mac, address, createdAt: at(1) };
    store.reservations.put(reservation);
    store.reservations.put({ ...reservation, hostname: "one" });
    t.throws(() => store.reservations.put({ ...reservation, mac: otherMac }), {
      instanceOf: ConflictError,
      message: "10.77.0.11 is reserved for 52:54:00:00:00:01, not for 52:54:00:00:00:02",
    });
    t.is(store.reservations.byAddress(address)?.hostname, "one");
    t.is(store.reservations.byMac(otherMac), undefined);
    store.reservations.delete(mac);
    store.reservations.put({ ...reservation, mac: otherMac });
    t.is(store.reservations.list().length, 1);
  });

  check(
    "racks, images, users, tokens of the API and settings come back as they were put",
    (t, store) => {
      const rack = { name: "lab", stacks: [] };
      const user = { name: "ada", password: "p", role: "admin", createdAt: at(1) } as const;
      const token = { hash: "h", user: "ada", name: "ci", createdAt: at(1) };
      store.racks.put(rack);
      store.images.put(image);
      store.users.put(user);
      store.apiTokens.put(token);
      store.settings.put("key", "a");
      store.settings.put("key", "b");
      t.deepEqual(store.racks.get("lab"), rack);
      t.deepEqual(store.images.get(digest), image);
      t.deepEqual(store.images.byName("debian"), [image]);
      t.deepEqual(store.users.list(), [user]);
      t.deepEqual(store.apiTokens.get("h"), token);
      t.deepEqual(store.apiTokens.list(), [token]);
      t.is(store.settings.get("key"), "b");
      store.racks.delete("lab");
      store.images.delete(digest);
      store.apiTokens.delete("h");
      store.users.delete("ada");
      t.deepEqual(store.users.list(), []);
      t.deepEqual(store.racks.list(), []);
      t.deepEqual(store.images.list(), []);
      t.is(store.apiTokens.get("h"), undefined);
    },
  );

  check("of learnings the newest is told, and the newest 20 are kept", (t, store) => {
    const learning = (id: number): LearningRecord => ({
      ...{ id: `learning_${id}`, rack: "lab", rackDigest: "", who: "ada", startedAt: at(id) },
      ...{ state: "running", step: { kind: "off" }, isQuietDue: false },
      ...{ groups: [], strangers: [], unknown: [], unconfirmed: [], questions: [] },
      options: {
        ...{ slotTimeoutSeconds: 1, lateTimeoutSeconds: 1, quietSeconds: 1, settleSeconds: 1 },
      },
    });
    t.is(store.learnings.newest(), undefined);
    for (let id = 1; id <= 30; id++) store.learnings.put(learning(id));
    t.deepEqual(store.learnings.newest(), learning(30));
    store.learnings.put({ ...learning(11), state: "done" });
    t.is(store.learnings.newest()?.id, "learning_30");
    store.learnings.put({ ...learning(10), state: "done" });
    t.is(store.learnings.newest()?.id, "learning_10", "it was forgotten, and so is new");
  });

  check("jobs are paged from the newest", (t, store) => {
    for (const id of ["job_1", "job_2", "job_3"]) store.jobs.put(exampleJob(id));
    store.jobs.put({ ...exampleJob("job_1"), state: "done" });
    t.deepEqual(ids(store.jobs.list({ limit: 2 })), ["job_3", "job_2"]);
    t.deepEqual(ids(store.jobs.list({ limit: 2, before: "job_2" as JobId })), ["job_1"]);
  });

  check("the unfinished jobs are told oldest first", (t, store) => {
    for (const id of ["job_1", "job_2", "job_3"]) store.jobs.put(exampleJob(id));
    store.jobs.put({ ...exampleJob("job_2"), state: "failed" });
    store.jobs.put({ ...exampleJob("job_3"), state: "running" });
    t.deepEqual(ids(store.jobs.unfinished()), ["job_1", "job_3"]);
  });

  check(
    "unfinished tasks are told running first, then oldest first; waiting ones not",
    (t, store) => {
      store.jobs.put(exampleJob("job_1"));
      store.tasks.put(exampleTask("task_0", "waiting"));
      store.tasks.put(exampleTask("task_1"));
      store.tasks.put(exampleTask("task_2", "queued", "node_2"));
      store.tasks.put(exampleTask("task_3", "done"));
      store.tasks.put(exampleTask("task_4"));
      store.tasks.put(exampleTask("task_4", "running"));
      t.deepEqual(ids(store.tasks.unfinished()), ["task_4", "task_1", "task_2"]);
      t.deepEqual(ids(store.tasks.unfinishedOf("node_1" as NodeId)), ["task_4", "task_1"]);
      t.deepEqual(ids(store.tasks.ofNode("node_1" as NodeId, 2)), ["task_4", "task_3"]);
      t.is(store.tasks.ofJob("job_1" as JobId).length, 5);
      t.is(store.tasks.nodesAtWork(), 2);
    },
  );

  check("tasks are counted by batch and state", (t, store) => {
    const job = "job_1" as JobId;
    store.jobs.put(exampleJob(job));
    store.tasks.put(exampleTask("task_1", "done"));
    store.tasks.put({ ...exampleTask("task_2", "waiting"), batch: 1 });
    store.tasks.put({ ...exampleTask("task_3", "waiting", "node_2"), batch: 1 });
    store.tasks.put({ ...exampleTask("task_4", "queued"), batch: 1 });
    t.deepEqual(store.tasks.counts(job), [
      { batch: 0, state: "done", count: 1 },
      { batch: 1, state: "queued", count: 1 },
      { batch: 1, state: "waiting", count: 2 },
    ]);
    t.deepEqual(store.tasks.inState(job, 1, "waiting"), [
      { id: "task_2" as TaskId, nodeId: "node_1" as NodeId },
      { id: "task_3" as TaskId, nodeId: "node_2" as NodeId },
    ]);
    t.deepEqual(ids(store.tasks.ofBatch(job, 0)), ["task_1"]);
    t.true(store.tasks.hasUnfinished(job));
    for (const id of ["task_2", "task_3", "task_4"]) store.tasks.put(exampleTask(id, "failed"));
    t.false(store.tasks.hasUnfinished(job));
  });

  check(
    "windows and schedules come back as they were put; what is due is told in time",
    (t, store) => {
      const window: Window = {
        name: "night",
        effect: "allows",
        opens: "0 2 * * *",
        minutes: 60,
        zone: "UTC",
      };
      store.windows.put(window);
      t.deepEqual(store.windows.list(), [window]);
      t.deepEqual(store.windows.get("night"), window);
      store.windows.delete("night");
      t.deepEqual(store.windows.list(), []);
      for (const [name, due, isPaused] of [
        ["b", 5, false],
        ["a", 9, false],
        ["c", 3, true],
        ["d", 3, false],
        ["e", undefined, false],
      ] as const) {
        store.schedules.put({ name, isPaused, ...(due && { due: at(due) }) } as Schedule);
      }
      const names = (found: readonly Schedule[]) => found.map(({ name }) => name);
      t.deepEqual(names(store.schedules.due(at(5), 9)), ["d", "b"]);
      t.deepEqual(names(store.schedules.due(at(9), 2)), ["d", "b"]);
      t.deepEqual(names(store.schedules.due(at(2), 9)), []);
      t.deepEqual(names(store.schedules.list({ limit: 2 })), ["a", "b"]);
      t.deepEqual(names(store.schedules.list({ limit: 9, after: "b" })), ["c", "d", "e"]);
      t.is(store.schedules.get("b")?.due, at(5));
      store.schedules.delete("b");
      t.is(store.schedules.get("b"), undefined);
    },
  );

  check("a task keeps its log and every attempt", (t, store) => {
    store.jobs.put(exampleJob("job_1"));
    const { id } = exampleTask("task_1");
    store.tasks.put(exampleTask("task_1"));
    store.tasks.appendLog(id, at(1), ["a", "b"]);
    store.tasks.appendLog(id, at(2), ["c"]);
    t.deepEqual(store.tasks.log(id), [
      { at: at(1), line: "a" },
      { at: at(1), line: "b" },
      { at: at(2), line: "c" },
    ]);
    store.attempts.put({ taskId: id, epoch: 1, startedAt: at(1) });
    store.attempts.put({ taskId: id, epoch: 2, startedAt: at(3) });
    store.attempts.put({
      taskId: id,
      epoch: 1,
      startedAt: at(1),
      endedAt: at(2),
      outcome: "failed",
    });
    t.is(store.attempts.get(id, 1)?.outcome, "failed");
    t.is(store.attempts.get(id, 2)?.startedAt, at(3));
    t.is(store.attempts.get(id, 3), undefined);
    t.deepEqual(
      store.attempts.ofTask(id).map(({ outcome }) => outcome),
      ["failed", undefined],
    );
  });

  check("events are numbered without gaps and told from any one on", (t, store) => {
    t.is(store.events.lastId(), 0);
    for (const text of ["a", "b", "c"]) store.events.append(at(1), [{ topic: "alarm", text }]);
    t.is(store.events.lastId(), 3);
    t.deepEqual(ids(store.events.since(1, 1) as never), [2 as never]);
    t.deepEqual(store.events.since(3, 9), []);
  });

  check("a used token knows who used it, and its first user stays", (t, store) => {
    const token = { hash: "h", mac, cause: "power-on", openedAt: at(1), expiresAt: at(9) };
    store.tokens.put(token);
    t.true(store.tokens.burn(token.hash, at(2), "key of the node"));
    t.false(store.tokens.burn(token.hash, at(3), "another key"));
    t.deepEqual(store.tokens.get(token.hash), {
      ...token,
      usedAt: at(2),
      holder: "key of the node",
    });
  });

  check("an approval is used once, and a new one takes its place", (t, store) => {
    store.approvals.put({ mac, expiresAt: at(5) });
    store.approvals.put({ mac, expiresAt: at(9), code: "4F2K" });
    t.is(store.approvals.get(otherMac), undefined);
    t.false(store.approvals.burn(otherMac, "key"));
    t.deepEqual(store.approvals.get(mac), { mac, expiresAt: at(9), code: "4F2K" });
    t.true(store.approvals.burn(mac, "key"));
    t.false(store.approvals.burn(mac, "another key"));
    t.deepEqual(store.approvals.get(mac), { mac, expiresAt: at(9), code: "4F2K", holder: "key" });
    store.approvals.put({ mac, expiresAt: at(12) });
    t.deepEqual(store.approvals.get(mac), { mac, expiresAt: at(12) });
  });

  check("the events about a node are the newest with its subjects, oldest first", (t, store) => {
    const lease = { topic: "lease", address, state: "bound" } as const;
    store.events.append(at(1), [{ ...lease, mac }]);
    store.events.append(at(2), [{ topic: "alarm", text: "no subject" }]);
    store.events.append(at(3), [{ ...lease, mac: otherMac }]);
    const slot = { rack: "r", stack: "a", slot: "1" };
    store.events.append(at(4), [{ topic: "power", slot, state: "on", ok: true }]);
    store.events.append(at(5), [{ ...lease, mac }]);
    const of = (after: number, limit: number) =>
      store.events.about([mac, "r/a/1"], at(after), limit).map(({ id }) => id);
    t.deepEqual(of(0, 9), [1, 4, 5]);
    t.deepEqual(of(0, 2), [4, 5]);
    t.deepEqual(of(5, 9), [5]);
    t.deepEqual(store.events.about(["nobody"], at(0), 9), []);
  });

  check("the open tokens of a MAC address are the unused ones that still last", (t, store) => {
    const token = { mac, cause: "power-on", openedAt: at(1), expiresAt: at(9) };
    store.tokens.put({ ...token, hash: "early", expiresAt: at(5) });
    store.tokens.put({ ...token, hash: "late" });
    store.tokens.put({ ...token, hash: "used" });
    store.tokens.put({ ...token, hash: "another's", mac: otherMac });
    store.tokens.burn("used", at(2));
    t.deepEqual(store.tokens.openOf(mac, at(4)), [
      { ...token, hash: "late" },
      { ...token, hash: "early", expiresAt: at(5) },
    ]);
    t.deepEqual(store.tokens.openOf(mac, at(5)), [{ ...token, hash: "late" }]);
    t.deepEqual(store.tokens.openOf(mac, at(9)), []);
  });

  check("a token is burnt once", (t, store) => {
    const token = { hash: "h", mac, cause: "power-on", openedAt: at(1), expiresAt: at(9) };
    store.tokens.put(token);
    t.deepEqual(store.tokens.get("h"), token);
    t.true(store.tokens.burn("h", at(2)));
    t.false(store.tokens.burn("h", at(3)));
    t.false(store.tokens.burn("unknown", at(3)));
    t.deepEqual(store.tokens.get("h"), { ...token, usedAt: at(2) });
    store.tokens.deleteExpired(at(8));
    t.truthy(store.tokens.get("h"));
    store.tokens.deleteExpired(at(9));
    t.is(store.tokens.get("h"), undefined);
  });

  check("a notice is kept once per channel and key, until it was sent", (t, store) => {
    const notice = { occasion: "alarm", key: "k", at: at(5), subject: "s", text: "t" } as const;
    store.notices.add("mail", notice);
    store.notices.add("mail", { ...notice, subject: "again" });
    store.notices.add("mail", { ...notice, key: "l", at: at(7) });
    store.notices.add("hook", notice);
    t.deepEqual(store.notices.due("mail", at(4), 9), []);
    t.deepEqual(store.notices.due("hook", at(5), 9).length, 1);
    const [first] = store.notices.due("mail", at(5), 9);
    t.like(first, { channel: "mail", notice, failures: 0, nextAt: at(5) });
    if (!first) return;
    store.notices.put({ ...first, failures: 1, nextAt: at(8), reason: "away" });
    t.deepEqual(
      store.notices.due("mail", at(9), 9).map((one) => one.notice.key),
      ["l", "k"],
    );
    const { nextAt: _, ...rest } = first;
    store.notices.put({ ...rest, sentAt: at(9) });
    t.deepEqual(
      store.notices.due("mail", at(9), 9).map((one) => one.notice.key),
      ["l"],
    );
    t.deepEqual(
      store.notices.list(9).map((one) => [one.channel, one.notice.key]),
      [
        ["hook", "k"],
        ["mail", "l"],
        ["mail", "k"],
      ],
    );
  });

  check("the audit log is paged from the newest", (t, store) => {
    for (const what of ["a", "b", "c"]) {
      store.audit.append({ at: at(1), who: "ada", what, target: "t" });
    }
    const [newest] = store.audit.list({ limit: 1 });
    t.is(newest?.what, "c");
    t.deepEqual(
      store.audit.list({ limit: 9, ...(newest && { before: newest.id }) }).map(({ what }) => what),
      ["b", "a"],
    );
  });
}
