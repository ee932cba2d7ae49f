/**
 * One SQLite file, opened the way the journal needs it: WAL, an fsync per
 * commit that is not told to do without, foreign keys on, brought to the newest
 * schema. Knows nothing of what is kept in it.
 */

import { closeSync, openSync, statSync } from "node:fs";
import { DatabaseSync, type SQLInputValue, type SQLOutputValue } from "node:sqlite";
import { ConfigurationError, ConflictError, UnavailableError } from "../errors.ts";
import { type Migration, migrations } from "./schema.ts";
import { seal } from "./seal.ts";
import type { TransactionOptions } from "./store.ts";

export type Row = Readonly<Record<string, SQLOutputValue>>;

/** A prepared statement. */
export interface Statement {
  /** @throws UnavailableError when the disk does not give what it holds; so does `all`. */
  get(...values: readonly SQLInputValue[]): Row | undefined;
  all(...values: readonly SQLInputValue[]): readonly Row[];
  /** @throws ConflictError when a unique column would repeat, UnavailableError when the disk is full. */
  run(...values: readonly SQLInputValue[]): { readonly changes: number; readonly lastId: number };
}

export interface Database {
  prepare(sql: string): Statement;
  /** Nested calls are part of the outer change; each undoes its own part when it throws. */
  transaction<T>(work: () => T, options?: TransactionOptions): T;
  /** Runs `work` after the outermost commit, at once outside of a transaction, never when that part is undone. */
  afterCommit(work: () => void): void;
  /** Called when a change or a part of one was undone: what was remembered of it is wrong. */
  onUndo(listener: () => void): void;
  /**
   * Writes the file anew, without what was replaced or removed since it was made. Not within a
   * transaction. @throws UnavailableError when the disk has no room for a second one
   */
  compact(): void;
  close(): void;
}

/** SQLite result codes, https://sqlite.org/rescode.html; the last two are extended ones. */
const resultCodes = {
  busy: 5,
  readOnly: 8,
  io: 10,
  damaged: 11,
  full: 13,
  unique: 2067,
  primaryKey: 1555,
};

/** One page: what a new journal has from its first write on. */
const leastOctets = 4096;
/** Another process (a backup) may hold the lock this long, in milliseconds. */
const busyTimeoutMs = 5000;

/**
 * @param path - a file, created with mode 0600; or `:memory:`
 * @throws ConfigurationError when it is damaged, no journal, or of a newer version.
 */
export function openDatabase(path: string, steps: readonly Migration[] = migrations): Database {
  const connection = connect(path);
  try {
    migrate(connection, path, steps);
  } catch (error) {
    connection.close();
    throw error;
  }
  const nesting = createNesting(connection);
  const undoListeners: (() => void)[] = [];
  const waiting: (() => void)[] = [];
  const change = <T>(work: () => T, isWhole: boolean): T => {
    nesting.begin(isWhole);
    const before = waiting.length;
    try {
      const value = work();
      nesting.end();
      return value;
    } catch (error) {
      waiting.length = before;
      const isUndone = nesting.undo();
      if (nesting.depth() === 0) overwriteRefused(connection, error);
      if (isUndone) for (const listener of undoListeners) listener();
      throw error;
    }
  };
  return {
    prepare(sql) {
      const statement = connection.prepare(sql);
      return {
        get: (...values) => translated(() => statement.get(...values), "read"),
        all: (...values) => translated(() => statement.all(...values), "read"),
        run: (...values) => {
          nesting.beforeWrite();
          try {
            const { changes, lastInsertRowid } = translated(() => statement.run(...values));
            return { changes: Number(changes), lastId: Number(lastInsertRowid) };
          } catch (error) {
            if (nesting.depth() === 0) overwriteRefused(connection, error);
            throw error;
          }
        },
      };
    },
    transaction(work, { isWhole = false, waitsForDisk = true } = {}) {
      const isHasty = !waitsForDisk && nesting.depth() === 0;
      if (isHasty) connection.exec("PRAGMA synchronous = NORMAL");
      let value: ReturnType<typeof work>;
      try {
        value = change(work, isWhole);
      } finally {
        if (isHasty) connection.exec("PRAGMA synchronous = FULL");
      }
      if (nesting.depth() === 0) for (const work of waiting.splice(0)) work();
      return value;
    },
    afterCommit(work) {
      if (nesting.depth() === 0) work();
      else waiting.push(work);
    },
    onUndo: (listener) => void undoListeners.push(listener),
    compact: () => translated(() => connection.exec("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")),
    close: () => connection.close(),
  };
}

/**
 * A change whose flush failed was refused, and yet all of it may be in the log: a server that is killed
 * then would find it at its next start. Another change takes its place there, whether it is flushed or not.
 */
function overwriteRefused(connection: DatabaseSync, error: unknown): void {
  if (!(error instanceof UnavailableError) || primaryCodeOf(error.cause) !== resultCodes.io) return;
  try {
    const before = connection.prepare("PRAGMA user_version").get()?.["user_version"];
    connection.exec(`PRAGMA user_version = ${(Number(before) + 1) % 2 ** 31}`);
  } catch {
    // refused as well; but written
  }
}

interface Nesting {
  depth(): number;
  begin(isWhole: boolean): void;
  /** Called before each statement that writes. */
  beforeWrite(): void;
  /** Ends the innermost change; the outermost one is on disk then. @throws Error when a part of a whole was undone */
  end(): void;
  /** Ends the innermost change and takes it back. False when it had written nothing. */
  undo(): boolean;
}

interface Change {
  readonly isWhole: boolean;
  hasWritten: boolean;
  /** The savepoint is its own. */
  isMarked: boolean;
  /** A part of it was to be undone. */
  isBroken: boolean;
}

/**
 * Changes within changes. A savepoint is made at the first write of a change, so that one that
 * only looks costs nothing, and one that begins where the outer one began shares its savepoint.
 * Parts of a whole have none: SQLite copies every page that is changed within one.
 */
function createNesting(connection: DatabaseSync): Nesting {
  const begin = connection.prepare("BEGIN IMMEDIATE");
  const commit = connection.prepare("COMMIT");
  const savepoint = connection.prepare("SAVEPOINT change");
  const release = connection.prepare("RELEASE change");
  const goBack = connection.prepare("ROLLBACK TO change");
  /** From the outermost in. */
  const open: Change[] = [];

  return {
    depth: () => open.length,
    begin(isWhole) {
      if (open.length === 0) translated(() => begin.run());
      open.push({ isWhole, hasWritten: false, isMarked: false, isBroken: false });
    },
    beforeWrite() {
      if (open.length === 0) return;
      if (!connection.isTransaction) throw new UnavailableError("the journal took the change back");
      if (open.at(-1)?.hasWritten) return;
      const first = open.findIndex(({ hasWritten }) => !hasWritten);
      const place = Math.max(first, 1); // the outermost one is undone as a whole
      const marked = open[place];
      if (marked && !open.slice(0, place).some(({ isWhole }) => isWhole)) {
        translated(() => savepoint.run());
        marked.isMarked = true;
      }
      for (const change of open.slice(first)) change.hasWritten = true;
    },
    end() {
      if (open.at(-1)?.isBroken) throw new Error("a part of this change failed, so all of it does");
      if (open.length === 1) translated(() => commit.run());
      else if (open.at(-1)?.isMarked) translated(() => release.run());
      open.pop();
    },
    undo() {
      const change = open.pop();
      const whole = open.find(({ isWhole }) => isWhole);
      // A full disk may have ended the transaction already: then there is nothing left to undo.
      if (connection.isTransaction) {
        if (open.length === 0) connection.exec("ROLLBACK");
        else if (change?.hasWritten && whole) whole.isBroken = true;
        else if (change?.hasWritten) goBack.run();
        if (change?.isMarked) release.run();
      }
      return change?.hasWritten === true;
    },
  };
}

function connect(path: string): DatabaseSync {
  try {
    // Created here so that nobody else can read it for even a moment.
    if (path !== ":memory:") {
      closeSync(openSync(path, "a", 0o600));
      const { size } = statSync(path);
      // SQLite takes the rest of a first page for a new file, and would begin with nothing.
      if (size > 0 && size < leastOctets) throw new Error(`it is cut off after ${size} octets`);
    }
    const connection = new DatabaseSync(path, {
      enableForeignKeyConstraints: true,
      timeout: busyTimeoutMs,
    });
    connection.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
    connection.function("seal", { deterministic: true }, (text) => seal(String(text)));
    const health = connection.prepare("PRAGMA integrity_check(1)").get()?.["integrity_check"];
    if (health !== "ok") throw new Error(String(health));
    return connection;
  } catch (cause) {
    throw new ConfigurationError(`journal ${path} cannot be opened: ${messageOf(cause)}`, {
      cause,
    });
  }
}

function migrate(connection: DatabaseSync, path: string, steps: readonly Migration[]): void {
  connection.exec(
    "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT",
  );
  const found = Number(
    connection.prepare("SELECT max(version) AS version FROM migrations").get()?.["version"] ?? 0,
  );
  const newest = steps.at(-1)?.version ?? 0;
  if (found > newest) {
    throw new ConfigurationError(
      `journal ${path} has version ${found}, this marcoboot knows up to ${newest}: start the newer marcoboot, or restore a backup`,
    );
  }
  for (const step of steps.filter((one) => one.version > found)) {
    connection.exec("BEGIN IMMEDIATE");
    try {
      connection.exec(step.sql);
      connection
        .prepare("INSERT INTO migrations (version, name) VALUES (?, ?)")
        .run(step.version, step.name);
      connection.exec("COMMIT");
    } catch (cause) {
      if (connection.isTransaction) connection.exec("ROLLBACK");
      throw new ConfigurationError(
        `journal ${path}: step ${step.version} (${step.name}) failed: ${messageOf(cause)}`,
        { cause },
      );
    }
  }
}

function translated<T>(work: () => T, what: "read" | "written" = "written"): T {
  try {
    return work();
  } catch (error) {
    throw translate(error, what);
  }
}

/** SQLite's result code as an error of ours; anything else unchanged. */
function translate(error: unknown, what: "read" | "written"): unknown {
  const code = codeOf(error);
  if (code === resultCodes.unique || code === resultCodes.primaryKey) {
    return new ConflictError(`already taken: ${messageOf(error)}`, { cause: error });
  }
  switch (primaryCodeOf(error)) {
    case resultCodes.full:
    case resultCodes.io:
    case resultCodes.readOnly:
    case resultCodes.busy:
    case resultCodes.damaged:
      return new UnavailableError(`the journal cannot be ${what}: ${messageOf(error)}`, {
        cause: error,
      });
    default:
      return error;
  }
}

function codeOf(error: unknown): number {
  return Number((error as { readonly errcode?: unknown } | undefined)?.errcode ?? 0);
}

/** The rest says what of it: a write, a flush, a file that was moved. */
function primaryCodeOf(error: unknown): number {
  return codeOf(error) & 0xff;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
