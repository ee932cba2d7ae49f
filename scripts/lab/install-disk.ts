/**
 * The disk of a node that is being installed, as seen from outside: whether the former system is
 * wiped, how much of an image of a whole disk has come, and whether all of it is there in the end.
 */

import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { headOctets, parsePartitionTable } from "../../netinst/partition-table.ts";
import { run } from "./command.ts";

export const writtenShares = [1, 25, 50, 99] as const;
/** Percent of an image's octets that are not zeros. */
export type WrittenShare = (typeof writtenShares)[number];

export interface InstallImage {
  /** A page of the image before which that share of it lies. */
  readonly marks: ReadonlyMap<WrittenShare, Mark>;
  /** Its `/usr` and `/boot`, as files: what neither an install nor a system changes. */
  readonly tree: string;
}

interface Mark {
  readonly position: number;
  readonly content: Buffer;
}

export interface InstallDisk {
  /** Becomes the disk of another machine: a firmware that boots it hangs for ever. */
  becomeForeign(): void;
  isWiped(): boolean;
  holds(share: WrittenShare): boolean;
  /** Where the disk differs from the image, in a few words; undefined: nowhere. Nobody may be writing it. */
  differsFromImage(): string | undefined;
}

const pageOctets = 4096;

/** @param raw - zstd; unpacked into `directory`, which it leaves behind there */
export function readInstallImage(raw: string, directory: string): InstallImage {
  const disk = join(directory, "image.raw");
  run("zstd", ["-dqf", raw, "-o", disk]);
  try {
    const tree = join(directory, "image.tree");
    extractTree(disk, tree);
    return { marks: findMarks(disk), tree };
  } finally {
    rmSync(disk, { force: true });
  }
}

/** The agent writes in order and by MiB, and a MiB of zeros not at all where there are zeros. */
function findMarks(path: string): ReadonlyMap<WrittenShare, Mark> {
  const file = openSync(path, "r");
  try {
    const pages: number[] = [];
    const { size } = fstatSync(file);
    for (let position = headOctets; position < size; position += pageOctets) {
      if (pageAt(file, position).some((octet) => octet !== 0)) pages.push(position);
    }
    return new Map(
      writtenShares.map((share) => {
        const position = pages[Math.floor((pages.length * share) / 100)] ?? headOctets;
        return [share, { position, content: pageAt(file, position) }];
      }),
    );
  } finally {
    closeSync(file);
  }
}

function pageAt(file: number, position: number): Buffer {
  const page = Buffer.alloc(pageOctets);
  readSync(file, page, 0, pageOctets, position);
  return page;
}

/** `jmp $`, and what a BIOS takes for a boot sector. */
const endlessLoop = Buffer.concat([
  Buffer.from([0xeb, 0xfe]),
  Buffer.alloc(508),
  Buffer.from([0x55, 0xaa]),
]);

/** @param path - a raw disk of `octets` */
export function openInstallDisk(path: string, octets: number, image: InstallImage): InstallDisk {
  const look = <Seen>(at: (file: number) => Seen): Seen => {
    const file = openSync(path, "r");
    try {
      return at(file);
    } finally {
      closeSync(file);
    }
  };
  return {
    becomeForeign() {
      writeFileSync(path, "");
      truncateSync(path, octets);
      const file = openSync(path, "r+");
      for (const position of [0, octets - endlessLoop.length]) {
        writeSync(file, endlessLoop, 0, endlessLoop.length, position);
      }
      closeSync(file);
    },
    isWiped: () => look((file) => pageAt(file, 0).readUInt16LE(510) !== 0xaa55),
    holds(share) {
      const mark = image.marks.get(share);
      return mark !== undefined && look((file) => pageAt(file, mark.position).equals(mark.content));
    },
    differsFromImage() {
      const tree = `${path}.tree`;
      try {
        extractTree(path, tree);
        return differences(image.tree, tree);
      } catch (error) {
        return (error as Error).message;
      } finally {
        rmSync(tree, { recursive: true, force: true });
      }
    },
  };
}

/**
 * Of the largest partition. A system that was cut has left its journal to whoever mounts it next:
 * so it is copied out, and that done first.
 *
 * @throws Error where the disk has no partition table, or the file system is damaged
 */
function extractTree(disk: string, directory: string): void {
  const file = openSync(disk, "r");
  const head = Buffer.alloc(headOctets);
  readSync(file, head, 0, head.length, 0);
  closeSync(file);
  const [root] = (parsePartitionTable(head)?.partitions ?? []).toSorted(
    (one, other) => other.length - one.length,
  );
  if (!root) throw new Error(`${disk} has no partitions`);
  const volume = `${directory}.volume`;
  try {
    run("dd", [
      ...[`if=${disk}`, `of=${volume}`, "bs=1M", "conv=sparse", "status=none"],
      ...["iflag=skip_bytes,count_bytes", `skip=${root.offset}`, `count=${root.length}`],
    ]);
    // 1: mended as a system does that starts; 4 and more: it would not start without a person
    run("sh", ["-c", 'e2fsck -p "$0" >&2; [ $? -lt 4 ]', volume]);
    mkdirSync(directory, { recursive: true });
    run("debugfs", ["-R", `rdump /usr /boot ${directory}`, volume]);
  } finally {
    rmSync(volume, { force: true });
  }
}

/** What is missing in `found` or differs there; more may be there. */
function differences(wanted: string, found: string): string | undefined {
  const said = run("sh", [
    ...["-c", 'diff -rq --no-dereference "$0" "$1" 2>&1; [ $? -lt 2 ]', wanted, found],
  ]);
  const lines = said
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith(`Only in ${found}`));
  if (lines.length === 0) return undefined;
  return `${lines.length} files differ from the image, the first: ${lines[0]}`;
}
