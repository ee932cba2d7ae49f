/**
 * The journal in one SQLite file. Tables are in schema.ts, the connection in
 * database.ts; here is only which statement answers which question.
 */

import { type DomainEvent, type StoredEvent, subjectOf } from "#protocol/events.ts";
import type { Image } from "#protocol/image.ts";
import { type Attempt, isFinished, type Job, type Task } from "#protocol/job.ts";
import type { LearningRecord } from "#protocol/learning.ts";
import type { Node } from "#protocol/node.ts";
import type { StoredNotice } from "#protocol/notice.ts";
import type { Rack } from "#protocol/rack.ts";
import type { Rule } from "#protocol/rule.ts";
import type { Schedule, Window } from "#protocol/schedule.ts";
import { ConfigurationError, ConflictError } from "../errors.ts";
import { type Database, openDatabase, type Row } from "./database.ts";
import { createOpenTasks } from "./open-tasks.ts";
import { seal, unseal } from "./seal.ts";
import type {
  ApiToken,
  Approval,
  AuditEntry,
  EnrolmentToken,
  LeaseRow,
  ProtectedDisk,
  Reservation,
  Store,
  TaskCount,
  TaskRef,
  User,
} from "./store.ts";

/** Events kept; older ones are dropped one by one. */
const eventLimit = 100_000;
const noticeLimit = 10_000;
/** Log lines kept per task. */
const logLimit = 10_000;
/** Runs of learning kept. */
const learningLimit = 20;

/**
 * Opens or creates the journal.
 *
 * @param path - a file, or `:memory:` for tests
 * @throws ConfigurationError when it is damaged or written by a newer marcoboot.
 */
export function openSqliteStore(path: string): Store {
  const database = openDatabase(path);
  try {
    return storeOf(database);
  } catch (error) {
    database.close();
    if (error instanceof ConfigurationError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigurationError(`journal ${path} is damaged (${reason}): restore a backup`, {
      cause: error,
    });
  }
}

/** Reads what everything rests on once: damage is told at the start, not at 3 a.m. */
function storeOf(database: Database): Store {
  const store: Store = {
    transaction: (work, options) => database.transaction(work, options),
    afterCommit: (work) => database.afterCommit(work),
    compact: () => database.compact(),
    copyTo: (path) => void database.prepare("VACUUM INTO ?").run(path),
    close: () => database.close(),
    nodes: nodesOf(database),
    racks: racksOf(database),
    rules: rulesOf(database),
    protectedDisks: protectedDisksOf(database),
    reservations: reservationsOf(database),
    leases: leasesOf(database),
    images: imagesOf(database),
    jobs: jobsOf(database),
    tasks: tasksOf(database),
    windows: windowsOf(database),
    schedules: schedulesOf(database),
    attempts: attemptsOf(database),
    events: eventsOf(database),
    learnings: learningsOf(database),
    tokens: tokensOf(database),
    approvals: approvalsOf(database),
    users: usersOf(database),
    apiTokens: apiTokensOf(database),
    settings: settingsOf(database),
    notices: noticesOf(database),
    audit: auditOf(database),
  };
  const { nodes, racks, rules, protectedDisks, reservations, images, users } = store;
  for (const table of [nodes, racks, rules, protectedDisks, reservations, images, users]) {
    table.list();
  }
  store.tasks.unfinished();
  return store;
}

function bodyOf(row: Row): string {
  return unseal(String(row["body"]));
}

/** Only this file writes `body`, from a value of the same type. */
function read<T>(row: Row | undefined): T | undefined {
  return row === undefined ? undefined : (JSON.parse(bodyOf(row)) as T);
}

function readAll<T>(rows: readonly Row[]): readonly T[] {
  return rows.map((row) => JSON.parse(bodyOf(row)) as T);
}

/** A row whose columns are the members of T: a member that is absent is NULL there. */
function withoutNulls<T>(row: Row | undefined): T | undefined {
  if (row === undefined) return undefined;
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)) as T;
}

/**
 * Every heartbeat and every request of an agent asks for its node, so they are kept in memory;
 * the table is read at the start and when a change was undone.
 */
function nodesOf(database: Database): Store["nodes"] {
  const list = database.prepare("SELECT body FROM nodes");
  const put = database.prepare(
    `INSERT INTO nodes (id, mac, name, body) VALUES (?, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET mac = excluded.mac, name = excluded.name, body = excluded.body`,
  );
  /** Leaves the indices alone. */
  const putBody = database.prepare("UPDATE nodes SET body = ? WHERE id = ?");
  const remove = database.prepare("DELETE FROM nodes WHERE id = ?");
  const readTable = () => {
    const all = readAll<Node>(list.all());
    return {
      byId: new Map(all.map((node) => [node.id, node])),
      byMac: new Map(all.map((node) => [node.mac, node])),
      byName: new Map(all.map((node) => [node.name, node])),
    };
  };
  let known: ReturnType<typeof readTable> | undefined;
  let sorted: readonly Node[] | undefined;
  const forgetAll = () => {
    known = undefined;
    sorted = undefined;
  };
  const inMemory = () => {
    known ??= readTable();
    return known;
  };
  const forget = (id: Node["id"]) => {
    const { byId, byMac, byName } = inMemory();
    const node = byId.get(id);
    sorted = undefined;
    if (!node) return;
    byId.delete(id);
    byMac.delete(node.mac);
    byName.delete(node.name);
  };
  const remember = (node: Node) => {
    forget(node.id);
    const { byId, byMac, byName } = inMemory();
    byId.set(node.id, node);
    byMac.set(node.mac, node);
    byName.set(node.name, node);
  };
  database.onUndo(forgetAll);
  return {
    get: (id) => inMemory().byId.get(id),
    byMac: (mac) => inMemory().byMac.get(mac),
    byName: (name) => inMemory().byName.get(name),
    list() {
      sorted ??= [...inMemory().byId.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
      return sorted;
    },
    put(node) {
      const text = JSON.stringify(node);
      const before = inMemory().byId.get(node.id);
      if (before?.mac === node.mac && before.name === node.name) putBody.run(seal(text), node.id);
      else put.run(node.id, node.mac, node.name, seal(text));
      remember(JSON.parse(text) as Node); // what a restart would read
    },
    delete(id) {
      remove.run(id);
      forget(id);
    },
  };
}

function racksOf(database: Database): Store["racks"] {
  const get = database.prepare("SELECT body FROM racks WHERE name = ?");
  const list = database.prepare("SELECT body FROM racks ORDER BY name");
  const put = database.prepare(
    "INSERT INTO racks (name, body) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body",
  );
  const remove = database.prepare("DELETE FROM racks WHERE name = ?");
  return {
    get: (name) => read<Rack>(get.get(name)),
    list: () => readAll<Rack>(list.all()),
    put: (rack) => void put.run(rack.name, seal(JSON.stringify(rack))),
    delete: (name) => void remove.run(name),
  };
}

function rulesOf(database: Database): Store["rules"] {
  const list = database.prepare("SELECT body FROM rules ORDER BY position");
  const add = database.prepare("INSERT INTO rules (position, name, body) VALUES (?, ?, ?)");
  const clear = database.prepare("DELETE FROM rules");
  return {
    list: () => readAll<Rule>(list.all()),
    replace: (rules) =>
      database.transaction(() => {
        clear.run();
        for (const [position, rule] of rules.entries()) {
          add.run(position, rule.name, seal(JSON.stringify(rule)));
        }
      }),
  };
}

function protectedDisksOf(database: Database): Store["protectedDisks"] {
  const get = database.prepare("SELECT body FROM protected_disks WHERE serial = ?");
  const list = database.prepare("SELECT body FROM protected_disks ORDER BY serial");
  const put = database.prepare(
    `INSERT INTO protected_disks (serial, body) VALUES (?, ?)
     ON CONFLICT (serial) DO UPDATE SET body = excluded.body`,
  );
  const remove = database.prepare("DELETE FROM protected_disks WHERE serial = ?");
  return {
    get: (serial) => read<ProtectedDisk>(get.get(serial)),
    list: () => readAll<ProtectedDisk>(list.all()),
    put: (disk) => void put.run(disk.serial, seal(JSON.stringify(disk))),
    delete: (serial) => void remove.run(serial),
  };
}

/** Every DHCP packet asks for them, so they are kept in memory; the table is read when that may be wrong. */
function reservationsOf(database: Database): Store["reservations"] {
  const list = database.prepare("SELECT body FROM reservations ORDER BY rowid");
  const put = database.prepare(
    `INSERT INTO reservations (mac, address, body) VALUES (?, ?, ?)
     ON CONFLICT (mac) DO UPDATE SET address = excluded.address, body = excluded.body`,
  );
  const remove = database.prepare("DELETE FROM reservations WHERE mac = ?");
  const readTable = () => {
    const all = readAll<Reservation>(list.all());
    return {
      byMac: new Map(all.map((one) => [one.mac, one])),
      byAddress: new Map(all.map((one) => [one.address, one])),
    };
  };
  let known: ReturnType<typeof readTable> | undefined;
  const inMemory = () => {
    known ??= readTable();
    return known;
  };
  database.onUndo(() => {
    known = undefined;
  });
  return {
    byMac: (mac) => inMemory().byMac.get(mac),
    byAddress: (address) => inMemory().byAddress.get(address),
    list: () => [...inMemory().byMac.values()],
    put(reservation) {
      const holder = inMemory().byAddress.get(reservation.address);
      if (holder && holder.mac !== reservation.mac) {
        throw new ConflictError(
          `${reservation.address} is reserved for ${holder.mac}, not for ${reservation.mac}`,
        );
      }
      known = undefined;
      put.run(reservation.mac, reservation.address, seal(JSON.stringify(reservation)));
    },
    delete(mac) {
      known = undefined;
      remove.run(mac);
    },
  };
}

function leasesOf(database: Database): Store["leases"] {
  const list = database.prepare("SELECT address, mac, state, until FROM leases ORDER BY rowid");
  return { list: () => list.all().map((row) => ({ ...row }) as unknown as LeaseRow) };
}

function imagesOf(database: Database): Store["images"] {
  const get = database.prepare("SELECT body FROM images WHERE digest = ?");
  const byName = database.prepare("SELECT body FROM images WHERE name = ? ORDER BY age DESC");
  const list = database.prepare("SELECT body FROM images ORDER BY name, age DESC");
  const put = database.prepare(
    `INSERT INTO images (digest, name, body) VALUES (?, ?, ?)
     ON CONFLICT (digest) DO UPDATE SET name = excluded.name, body = excluded.body`,
  );
  const remove = database.prepare("DELETE FROM images WHERE digest = ?");
  return {
    get: (digest) => read<Image>(get.get(digest)),
    byName: (name) => readAll<Image>(byName.all(name)),
    list: () => readAll<Image>(list.all()),
    put: (image) => void put.run(image.digest, image.name, seal(JSON.stringify(image))),
    delete: (digest) => void remove.run(digest),
  };
}

function jobsOf(database: Database): Store["jobs"] {
  const get = database.prepare("SELECT body FROM jobs WHERE id = ?");
  const newest = database.prepare("SELECT body FROM jobs ORDER BY age DESC LIMIT ?");
  const older = database.prepare(
    `SELECT body FROM jobs WHERE age < (SELECT age FROM jobs WHERE id = ?)
     ORDER BY age DESC LIMIT ?`,
  );
  const unfinished = database.prepare("SELECT body FROM jobs WHERE unfinished = 1 ORDER BY age");
  const put = database.prepare(
    `INSERT INTO jobs (id, unfinished, body) VALUES (?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET unfinished = excluded.unfinished, body = excluded.body`,
  );
  /** Those that have not ended, as far as this process wrote them: each step of their tasks asks for them. */
  const open = new Map<Job["id"], Job>();
  database.onUndo(() => open.clear());
  return {
    get: (id) => open.get(id) ?? read<Job>(get.get(id)),
    list: ({ limit, before }) =>
      readAll<Job>(before === undefined ? newest.all(limit) : older.all(before, limit)),
    unfinished: () => readAll<Job>(unfinished.all()),
    put(job) {
      const isOpen = !isFinished(job.state);
      put.run(job.id, Number(isOpen), seal(JSON.stringify(job)));
      if (isOpen) open.set(job.id, job);
      else open.delete(job.id);
    },
  };
}

function tasksOf(database: Database): Store["tasks"] {
  const get = database.prepare("SELECT body FROM tasks WHERE id = ?");
  const unended = database.prepare(
    "SELECT body FROM tasks WHERE state IN ('waiting', 'queued', 'running') ORDER BY age",
  );
  const open = createOpenTasks(() => readAll<Task>(unended.all()));
  database.onUndo(() => open.forget());
  const ofJob = database.prepare("SELECT body FROM tasks WHERE job = ? ORDER BY age");
  const counts = database.prepare(
    "SELECT batch, state, count(*) AS count FROM tasks WHERE job = ? GROUP BY batch, state",
  );
  const ofBatch = database.prepare(
    "SELECT body FROM tasks WHERE job = ? AND batch = ? ORDER BY age",
  );
  const inState = database.prepare(
    "SELECT id, node AS nodeId FROM tasks WHERE job = ? AND batch = ? AND state = ? ORDER BY age",
  );
  const ofNode = database.prepare(
    "SELECT body FROM tasks WHERE node = ? ORDER BY age DESC LIMIT ?",
  );
  const put = database.prepare(
    `INSERT INTO tasks (id, job, node, batch, state, body) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body`,
  );
  /** Leaves the indices alone. */
  const putBody = database.prepare("UPDATE tasks SET body = ? WHERE id = ?");
  const putState = database.prepare("UPDATE tasks SET state = ?, body = ? WHERE id = ?");
  const addLine = database.prepare("INSERT INTO task_log (task, at, line) VALUES (?, ?, ?)");
  const prune = database.prepare(
    `DELETE FROM task_log WHERE task = ?1 AND id <=
     (SELECT id FROM task_log WHERE task = ?1 ORDER BY id DESC LIMIT 1 OFFSET ${logLimit})`,
  );
  const log = database.prepare("SELECT at, line FROM task_log WHERE task = ? ORDER BY id");
  return {
    get: (id) => open.get(id) ?? read<Task>(get.get(id)),
    ofJob: (job) => readAll<Task>(ofJob.all(job)),
    unfinished: () => open.atWork(),
    nodesAtWork: () => open.nodesAtWork(),
    unfinishedOf: (node) => open.atWorkOn(node),
    ofNode: (node, limit) => readAll<Task>(ofNode.all(node, limit)),
    counts: (job) => counts.all(job).map((row) => ({ ...row }) as unknown as TaskCount),
    hasUnfinished: (job) => open.isOpen(job),
    ofBatch: (job, batch) => readAll<Task>(ofBatch.all(job, batch)),
    inState: (job, batch, state) =>
      inState.all(job, batch, state).map((row) => ({ ...row }) as unknown as TaskRef),
    put(task) {
      const { id, jobId, nodeId, batch, state } = task;
      const body = seal(JSON.stringify(task));
      const before = open.get(id);
      if (before?.state === state) putBody.run(body, id);
      else if (before) putState.run(state, body, id);
      else put.run(id, jobId, nodeId, batch ?? 0, state, body);
      open.put(task);
    },
    appendLog: (id, at, lines) =>
      database.transaction(() => {
        for (const line of lines) addLine.run(id, Math.trunc(at), line);
        prune.run(id);
      }),
    log: (id) =>
      log.all(id).map((row) => ({ ...row }) as unknown as { at: Task["createdAt"]; line: string }),
  };
}

function windowsOf(database: Database): Store["windows"] {
  const get = database.prepare("SELECT body FROM windows WHERE name = ?");
  const list = database.prepare("SELECT body FROM windows ORDER BY name");
  const put = database.prepare(
    "INSERT INTO windows (name, body) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body",
  );
  const remove = database.prepare("DELETE FROM windows WHERE name = ?");
  return {
    get: (name) => read<Window>(get.get(name)),
    list: () => readAll<Window>(list.all()),
    put: (window) => void put.run(window.name, seal(JSON.stringify(window))),
    delete: (name) => void remove.run(name),
  };
}

function schedulesOf(database: Database): Store["schedules"] {
  const get = database.prepare("SELECT body FROM schedules WHERE name = ?");
  const list = database.prepare("SELECT body FROM schedules WHERE name > ? ORDER BY name LIMIT ?");
  const due = database.prepare("SELECT body FROM schedules WHERE due <= ? ORDER BY due LIMIT ?");
  const put = database.prepare(
    `INSERT INTO schedules (name, due, body) VALUES (?, ?, ?)
     ON CONFLICT (name) DO UPDATE SET due = excluded.due, body = excluded.body`,
  );
  const remove = database.prepare("DELETE FROM schedules WHERE name = ?");
  return {
    get: (name) => read<Schedule>(get.get(name)),
    list: ({ limit, after = "" }) => readAll<Schedule>(list.all(after, limit)),
    due: (at, limit) => readAll<Schedule>(due.all(Math.trunc(at), limit)),
    put(schedule) {
      const at = schedule.isPaused ? undefined : schedule.due;
      put.run(schedule.name, at ?? null, seal(JSON.stringify(schedule)));
    },
    delete: (name) => void remove.run(name),
  };
}

function attemptsOf(database: Database): Store["attempts"] {
  const put = database.prepare(
    `INSERT INTO attempts (task, epoch, body) VALUES (?, ?, ?)
     ON CONFLICT (task, epoch) DO UPDATE SET body = excluded.body`,
  );
  const ofTask = database.prepare("SELECT body FROM attempts WHERE task = ? ORDER BY epoch");
  const get = database.prepare("SELECT body FROM attempts WHERE task = ? AND epoch = ?");
  /** Those that have not ended, as far as this process began them: asked for at every step. */
  const open = new Map<string, Attempt>();
  database.onUndo(() => open.clear());
  return {
    put(attempt) {
      const { taskId, epoch, endedAt } = attempt;
      put.run(taskId, epoch, seal(JSON.stringify(attempt)));
      if (endedAt === undefined) open.set(`${taskId} ${epoch}`, attempt);
      else open.delete(`${taskId} ${epoch}`);
    },
    get: (task, epoch) => open.get(`${task} ${epoch}`) ?? read<Attempt>(get.get(task, epoch)),
    ofTask: (task) => readAll<Attempt>(ofTask.all(task)),
  };
}

function eventsOf(database: Database): Store["events"] {
  const append = database.prepare("INSERT INTO events (at, body, subject) VALUES (?, ?, ?)");
  const prune = database.prepare("DELETE FROM events WHERE id <= ?");
  const since = database.prepare(
    "SELECT id, at, body FROM events WHERE id > ? ORDER BY id LIMIT ?",
  );
  // The index alone says which: one by subject would be written to in as many places as nodes speak.
  const about = database.prepare(
    `SELECT id, at, body FROM events WHERE id IN (
       SELECT id FROM events INDEXED BY events_by_time
       WHERE at >= ? AND subject IN (SELECT value FROM json_each(?)) ORDER BY id DESC LIMIT ?
     ) ORDER BY id`,
  );
  const last = database.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'events'");
  const fromRow = (row: Row): StoredEvent => ({
    id: Number(row["id"]),
    at: Number(row["at"]) as StoredEvent["at"],
    event: JSON.parse(bodyOf(row)) as DomainEvent,
  });
  return {
    append: (at, events, options) =>
      database.transaction(() => {
        const stored = events.map((event) => {
          const subject = subjectOf(event) ?? null;
          const { lastId } = append.run(Math.trunc(at), seal(JSON.stringify(event)), subject);
          return { id: lastId, at, event };
        });
        prune.run((stored.at(-1)?.id ?? 0) - eventLimit);
        return stored;
      }, options),
    since: (id, limit) => since.all(id, limit).map(fromRow),
    about: (subjects, after, limit) =>
      about.all(Math.trunc(after), JSON.stringify(subjects), limit).map(fromRow),
    lastId: () => Number(last.get()?.["seq"] ?? 0),
  };
}

function learningsOf(database: Database): Store["learnings"] {
  const newest = database.prepare("SELECT body FROM learnings ORDER BY age DESC LIMIT 1");
  const put = database.prepare(
    `INSERT INTO learnings (id, body) VALUES (?, ?)
     ON CONFLICT (id) DO UPDATE SET body = excluded.body`,
  );
  const prune = database.prepare(
    `DELETE FROM learnings WHERE age <=
     (SELECT age FROM learnings ORDER BY age DESC LIMIT 1 OFFSET ${learningLimit})`,
  );
  return {
    newest: () => read<LearningRecord>(newest.get()),
    put: (learning) =>
      database.transaction(() => {
        put.run(learning.id, seal(JSON.stringify(learning)));
        prune.run();
      }),
  };
}

function tokensOf(database: Database): Store["tokens"] {
  const put = database.prepare(
    `INSERT INTO tokens (hash, mac, cause, opened_at, expires_at, used_at, holder)
     VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (hash) DO UPDATE SET mac = excluded.mac, cause = excluded.cause,
       opened_at = excluded.opened_at, expires_at = excluded.expires_at, used_at = excluded.used_at,
       holder = excluded.holder`,
  );
  const columns = "hash, mac, cause, opened_at AS openedAt, expires_at AS expiresAt";
  const get = database.prepare(
    `SELECT ${columns}, used_at AS usedAt, holder FROM tokens WHERE hash = ?`,
  );
  const openOf = database.prepare(
    `SELECT ${columns} FROM tokens WHERE mac = ? AND used_at IS NULL AND expires_at > ?
     ORDER BY expires_at DESC, opened_at DESC`,
  );
  const burn = database.prepare(
    "UPDATE tokens SET used_at = ?, holder = ? WHERE hash = ? AND used_at IS NULL",
  );
  const deleteExpired = database.prepare("DELETE FROM tokens WHERE expires_at <= ?");
  return {
    put: (token) =>
      void put.run(
        token.hash,
        token.mac,
        token.cause,
        Math.trunc(token.openedAt),
        Math.trunc(token.expiresAt),
        token.usedAt === undefined ? null : Math.trunc(token.usedAt),
        token.holder ?? null,
      ),
    get: (hash) => withoutNulls<EnrolmentToken>(get.get(hash)),
    openOf: (mac, at) =>
      openOf.all(mac, Math.trunc(at)).map((row) => ({ ...row }) as unknown as EnrolmentToken),
    burn: (hash, at, holder) => burn.run(Math.trunc(at), holder ?? null, hash).changes === 1,
    deleteExpired: (at) => void deleteExpired.run(Math.trunc(at)),
  };
}

function approvalsOf(database: Database): Store["approvals"] {
  const put = database.prepare(
    `INSERT INTO approvals (mac, expires_at, code, holder) VALUES (?, ?, ?, ?)
     ON CONFLICT (mac) DO UPDATE SET expires_at = excluded.expires_at, code = excluded.code,
       holder = excluded.holder`,
  );
  const get = database.prepare(
    "SELECT mac, expires_at AS expiresAt, code, holder FROM approvals WHERE mac = ?",
  );
  const burn = database.prepare("UPDATE approvals SET holder = ? WHERE mac = ? AND holder IS NULL");
  return {
    put: ({ mac, expiresAt, code, holder }) =>
      void put.run(mac, Math.trunc(expiresAt), code ?? null, holder ?? null),
    get: (mac) => withoutNulls<Approval>(get.get(mac)),
    burn: (mac, holder) => burn.run(holder, mac).changes === 1,
  };
}

function usersOf(database: Database): Store["users"] {
  const get = database.prepare("SELECT body FROM users WHERE name = ?");
  const list = database.prepare("SELECT body FROM users ORDER BY name");
  const remove = database.prepare("DELETE FROM users WHERE name = ?");
  const put = database.prepare(
    "INSERT INTO users (name, body) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body",
  );
  return {
    get: (name) => read<User>(get.get(name)),
    list: () => readAll<User>(list.all()),
    put: (user) => void put.run(user.name, seal(JSON.stringify(user))),
    delete: (name) => void remove.run(name),
  };
}

function apiTokensOf(database: Database): Store["apiTokens"] {
  const get = database.prepare("SELECT body FROM api_tokens WHERE hash = ?");
  const list = database.prepare("SELECT body FROM api_tokens ORDER BY rowid");
  const put = database.prepare(
    `INSERT INTO api_tokens (hash, body) VALUES (?, ?)
     ON CONFLICT (hash) DO UPDATE SET body = excluded.body`,
  );
  const remove = database.prepare("DELETE FROM api_tokens WHERE hash = ?");
  return {
    get: (hash) => read<ApiToken>(get.get(hash)),
    list: () => readAll<ApiToken>(list.all()),
    put: (token) => void put.run(token.hash, seal(JSON.stringify(token))),
    delete: (hash) => void remove.run(hash),
  };
}

function settingsOf(database: Database): Store["settings"] {
  const get = database.prepare("SELECT value FROM settings WHERE name = ?");
  const put = database.prepare(
    `INSERT INTO settings (name, value) VALUES (?, ?)
     ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
  );
  return {
    get(name) {
      const row = get.get(name);
      return row === undefined ? undefined : String(row["value"]);
    },
    put: (name, value) => void put.run(name, value),
  };
}

function noticesOf(database: Database): Store["notices"] {
  const add = database.prepare(
    `INSERT INTO notices (channel, key, next_at, body) VALUES (?, ?, ?, ?)
     ON CONFLICT (channel, key) DO NOTHING`,
  );
  const trim = database.prepare(
    "DELETE FROM notices WHERE id <= (SELECT max(id) FROM notices) - ?",
  );
  const due = database.prepare(
    `SELECT id, body FROM notices WHERE channel = ? AND next_at <= ? ORDER BY next_at, id LIMIT ?`,
  );
  const put = database.prepare("UPDATE notices SET next_at = ?, body = ? WHERE id = ?");
  const list = database.prepare("SELECT id, body FROM notices ORDER BY id DESC LIMIT ?");
  const readOne = (row: Row) => ({ ...JSON.parse(bodyOf(row)), id: Number(row["id"]) });
  return {
    add(channel, notice) {
      const body = { channel, notice, failures: 0, nextAt: notice.at };
      add.run(channel, notice.key, notice.at, seal(JSON.stringify(body)));
      trim.run(noticeLimit);
    },
    due: (channel, at, limit): readonly StoredNotice[] => due.all(channel, at, limit).map(readOne),
    put: (notice) => void put.run(notice.nextAt ?? null, seal(JSON.stringify(notice)), notice.id),
    list: (limit): readonly StoredNotice[] => list.all(limit).map(readOne),
  };
}

function auditOf(database: Database): Store["audit"] {
  const append = database.prepare("INSERT INTO audit (body) VALUES (?)");
  const newest = database.prepare("SELECT id, body FROM audit ORDER BY id DESC LIMIT ?");
  const older = database.prepare(
    "SELECT id, body FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?",
  );
  const fromRow = (row: Row): AuditEntry => ({
    ...(JSON.parse(bodyOf(row)) as Omit<AuditEntry, "id">),
    id: Number(row["id"]),
  });
  return {
    append: (entry) => void append.run(seal(JSON.stringify(entry))),
    list: ({ limit, before }) =>
      (before === undefined ? newest.all(limit) : older.all(before, limit)).map(fromRow),
  };
}
