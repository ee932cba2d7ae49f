/**
 * Tables of the journal, and the steps that made them.
 *
 * A document table holds the JSON text of a protocol type in `body`, with its
 * checksum (seal.ts), beside the columns it is looked up by. `id` (or SQLite's row id) rises with age, so
 * "oldest first" needs no clock.
 *
 * A step, once released, is never edited: a change of the tables is a new step.
 */

export interface Migration {
  /** Rises by one, from 1. */
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}

export const migrations: readonly Migration[] = [
  {
    version: 1,
    name: "first tables",
    sql: `
      CREATE TABLE nodes (
        age INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE, mac TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE,
        body TEXT NOT NULL
      ) STRICT;
      CREATE TABLE racks (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
      CREATE TABLE reservations (
        mac TEXT PRIMARY KEY, address TEXT NOT NULL UNIQUE, body TEXT NOT NULL
      ) STRICT;
      CREATE TABLE leases (
        address TEXT PRIMARY KEY, mac TEXT NOT NULL, state TEXT NOT NULL, until INTEGER NOT NULL
      ) STRICT;
      CREATE INDEX leases_by_mac ON leases (mac);
      CREATE TABLE images (
        age INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, name TEXT NOT NULL, body TEXT NOT NULL
      ) STRICT;
      CREATE INDEX images_by_name ON images (name);
      CREATE TABLE jobs (age INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL) STRICT;
      CREATE TABLE tasks (
        age INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        job TEXT NOT NULL REFERENCES jobs (id),
        node TEXT NOT NULL,
        state TEXT NOT NULL,
        body TEXT NOT NULL
      ) STRICT;
      CREATE INDEX tasks_by_job ON tasks (job);
      CREATE INDEX tasks_by_node ON tasks (node);
      CREATE INDEX tasks_unfinished ON tasks (node) WHERE state IN ('queued', 'running');
      CREATE TABLE task_log (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        task TEXT NOT NULL REFERENCES tasks (id), at INTEGER NOT NULL, line TEXT NOT NULL
      ) STRICT;
      CREATE INDEX task_log_by_task ON task_log (task, id);
      CREATE TABLE attempts (
        task TEXT NOT NULL REFERENCES tasks (id), epoch INTEGER NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (task, epoch)
      ) STRICT;
      CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, body TEXT NOT NULL
      ) STRICT;
      CREATE TABLE tokens (
        hash TEXT PRIMARY KEY, mac TEXT NOT NULL, cause TEXT NOT NULL,
        opened_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, used_at INTEGER
      ) STRICT;
      CREATE TABLE users (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
      CREATE TABLE api_tokens (hash TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
      CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
      CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL) STRICT;
    `,
  },
  {
    version: 2,
    name: "approvals, and who used a token",
    sql: `
      ALTER TABLE tokens ADD COLUMN holder TEXT;
      CREATE TABLE approvals (mac TEXT PRIMARY KEY, expires_at INTEGER NOT NULL) STRICT;
    `,
  },
  {
    version: 3,
    name: "what an event is about",
    sql: `
      ALTER TABLE events ADD COLUMN subject TEXT;
      CREATE INDEX events_by_subject ON events (subject, id) WHERE subject IS NOT NULL;
    `,
  },
  {
    version: 4,
    name: "a checksum in every document",
    sql: ["nodes", "racks", "reservations", "images", "jobs", "tasks", "attempts"]
      .concat(["events", "users", "api_tokens", "audit"])
      .map((table) => `UPDATE ${table} SET body = seal(body);`)
      .join("\n"),
  },
  {
    version: 5,
    name: "rules, and disks that are not to be written",
    sql: `
      CREATE TABLE rules (
        position INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, body TEXT NOT NULL
      ) STRICT;
      CREATE TABLE protected_disks (serial TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
    `,
  },
  {
    version: 6,
    name: "approvals of one key, repeated by it alone",
    sql: `
      ALTER TABLE approvals ADD COLUMN code TEXT;
      ALTER TABLE approvals ADD COLUMN holder TEXT;
    `,
  },
  {
    version: 7,
    name: "how a rack is learned",
    sql: `
      CREATE TABLE learnings (
        age INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL
      ) STRICT;
    `,
  },
  {
    version: 8,
    name: "windows, schedules, and tasks that wait",
    sql: `
      CREATE TABLE windows (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
      CREATE TABLE schedules (name TEXT PRIMARY KEY, due INTEGER, body TEXT NOT NULL) STRICT;
      CREATE INDEX schedules_by_due ON schedules (due) WHERE due IS NOT NULL;
      ALTER TABLE jobs ADD COLUMN unfinished INTEGER NOT NULL DEFAULT 0;
      UPDATE jobs SET unfinished = 1
        WHERE id IN (SELECT job FROM tasks WHERE state IN ('queued', 'running'));
      CREATE INDEX jobs_unfinished ON jobs (age) WHERE unfinished = 1;
      ALTER TABLE tasks ADD COLUMN batch INTEGER NOT NULL DEFAULT 0;
      DROP INDEX tasks_by_job;
      CREATE INDEX tasks_by_job ON tasks (job, batch, state);
      CREATE INDEX tasks_unfinished_by_job ON tasks (job)
        WHERE state IN ('waiting', 'queued', 'running');
    `,
  },
  {
    version: 9,
    name: "notices to people",
    sql: `
      CREATE TABLE notices (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        channel TEXT NOT NULL, key TEXT NOT NULL, next_at INTEGER, body TEXT NOT NULL,
        UNIQUE (channel, key)
      ) STRICT;
      CREATE INDEX notices_by_due ON notices (channel, next_at) WHERE next_at IS NOT NULL;
    `,
  },
  {
    version: 10,
    name: "without an index that memory has replaced",
    sql: "DROP INDEX tasks_unfinished;",
  },
  {
    version: 11,
    name: "an index of events that grows at its end",
    sql: `
      CREATE INDEX events_by_time ON events (at, subject);
      DROP INDEX events_by_subject;
    `,
  },
];
