/**
 * A mounted root file system as a tar archive (pax; numeric owners, hard links, extended attributes).
 *
 * The names are walked and chosen here, tar packs what it is told. Devices, pipes and sockets are
 * left out: a system makes its own.
 */

import { type ChildProcess, spawn } from "node:child_process";
import type { Dirent } from "node:fs";
import { readdir } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { reasonOf, ToolError } from "../errors.ts";
import { commandOf } from "../tools.ts";

export interface Walked {
  /** Number of files and symbolic links. */
  files: number;
  /** Number of devices, pipes and sockets. */
  special: number;
  /** Paths that were left out for their name. */
  readonly leftOut: string[];
}

/** File names are octets, not always UTF-8. */
type Entry = Dirent<Buffer>;

/**
 * Every file, directory and symbolic link, a directory before what is in it, in the order of their
 * octets: the same tree gives the same archive.
 *
 * @param isLeftOut - asked with absolute paths of that system; what lies below is not asked for
 */
export async function* walk(
  root: string,
  isLeftOut: (path: string) => boolean,
  walked: Walked,
): AsyncGenerator<Buffer, void> {
  yield Buffer.from(".");
  yield* below(Buffer.from(root), Buffer.alloc(0));

  async function* below(directory: Buffer, name: Buffer): AsyncGenerator<Buffer, void> {
    const entries: Entry[] = await readdir(directory, { withFileTypes: true, encoding: "buffer" });
    for (const entry of entries.toSorted((a, b) => Buffer.compare(a.name, b.name))) {
      const path = Buffer.concat([name, slash, entry.name]);
      if (isLeftOut(path.toString())) walked.leftOut.push(path.toString());
      else if (entry.isDirectory()) {
        yield Buffer.concat([dot, path]);
        yield* below(Buffer.concat([directory, slash, entry.name]), path);
      } else if (entry.isFile() || entry.isSymbolicLink()) {
        walked.files += 1;
        yield Buffer.concat([dot, path]);
      } else walked.special += 1;
    }
  }
}

const slash = Buffer.from("/");
const dot = Buffer.from(".");

/** The archive of these names, relative to `root`. @throws ToolError with tar's last words */
export async function* tarOf(
  root: string,
  names: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer, void> {
  const [program, args] = commandOf("tar", [
    ...["--create", "--file=-", "--format=posix", "--pax-option=delete=atime,delete=ctime"],
    ...["--numeric-owner", "--xattrs", "--xattrs-include=*"],
    ...[`--directory=${root}`, "--no-recursion"],
    ...["--null", "--verbatim-files-from", "--files-from=-"],
  ]);
  const child = spawn(program, [...args], { stdio: ["pipe", "pipe", "pipe"] });
  let said = "";
  child.stderr.on("data", (part: Buffer) => {
    said = (said + part.toString("utf8")).slice(-400);
  });
  const ended = endOf(child, () => said.trim());
  let unfed: unknown;
  const terminated = Readable.from(withNuls(names), { objectMode: false });
  pipeline(terminated, child.stdin).catch((error: NodeJS.ErrnoException) => {
    unfed = error;
    if (error.code !== "EPIPE") child.kill("SIGKILL"); // EPIPE: tar gave up, and says why
  });
  try {
    yield* child.stdout as AsyncIterable<Buffer>;
    await ended.catch((error: unknown) => {
      const isOurs = unfed !== undefined && (unfed as NodeJS.ErrnoException).code !== "EPIPE";
      throw isOurs ? new ToolError(`the tree cannot be read: ${reasonOf(unfed)}`) : error;
    });
  } finally {
    child.kill("SIGKILL");
  }
}

function endOf(child: ChildProcess, saying: () => string): Promise<void> {
  const ended = new Promise<void>((resolve, reject) => {
    child.on("error", (cause) => reject(new ToolError("cannot run tar", { cause })));
    child.on("close", (code, signal) => {
      if (code === 0) resolve();
      else reject(new ToolError(`tar ended with ${signal ?? code}: ${saying()}`));
    });
  });
  ended.catch(() => undefined); // told to whoever reads the archive to its end
  return ended;
}

async function* withNuls(names: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  for await (const name of names) yield Buffer.concat([name, Buffer.of(0)]);
}
