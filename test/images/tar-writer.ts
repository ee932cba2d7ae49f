/** Writes the headers of tar entries: ustar, and pax where a value does not fit (POSIX.1-2017, pax). */

import type { TarEntry, TarType } from "../../images/tar/entry.ts";

const blockOctets = 512;

const flags: Readonly<Record<TarType, string>> = {
  file: "0",
  link: "1",
  "symbolic link": "2",
  "character device": "3",
  "block device": "4",
  directory: "5",
  FIFO: "6",
};

export const endMarker = Buffer.alloc(2 * blockOctets);

/** Everything before the content. */
export function headersOf(entry: TarEntry): Buffer {
  const records: (readonly [string, Buffer])[] = [...entry.attributes];
  const put = (name: string, value: string) => {
    records.push([name, Buffer.from(value, "latin1")]);
  };
  /** @returns what stands in the header itself */
  const text = (name: string, value: string) => {
    if (value.length > 100) put(name, value);
    return value.slice(0, 100);
  };
  const number = (name: string, value: number, digits: number) => {
    if (value < 8 ** digits) return value;
    put(name, String(value));
    return 0;
  };
  const isPlain = /^\d{1,10}$/.test(entry.mtime) && Number(entry.mtime) < 8 ** 11;
  if (!isPlain) put("mtime", entry.mtime);
  const header = headerOf({
    path: text("path", entry.path),
    flag: flags[entry.type],
    target: text("linkpath", entry.target),
    mode: entry.mode,
    uid: number("uid", entry.uid, 7),
    gid: number("gid", entry.gid, 7),
    mtime: isPlain ? Number(entry.mtime) : 0,
    size: number("size", entry.size, 11),
  });
  if (records.length === 0) return header;
  const extended = Buffer.concat(records.map(recordOf));
  const common = { target: "", mode: 0o644, uid: 0, gid: 0, mtime: 0 };
  return Buffer.concat([
    headerOf({ path: "PaxHeader", flag: "x", size: extended.length, ...common }),
    extended,
    paddingAfter(extended.length),
    header,
  ]);
}

/** Zeros up to the next block. */
export function paddingAfter(size: number): Buffer {
  return endMarker.subarray(0, (blockOctets - (size % blockOctets)) % blockOctets);
}

function recordOf([name, value]: readonly [string, Buffer]): Buffer {
  const rest = name.length + value.length + 3; // blank, equals sign, line feed
  let length = rest + String(rest).length;
  if (String(length).length > String(rest).length) length++;
  return Buffer.concat([Buffer.from(`${length} ${name}=`, "latin1"), value, Buffer.from("\n")]);
}

interface Header {
  readonly path: string;
  readonly flag: string;
  readonly target: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: number;
  readonly size: number;
}

function headerOf({ path, flag, target, mode, uid, gid, mtime, size }: Header): Buffer {
  const block = Buffer.alloc(blockOctets);
  const octal = (value: number, at: number, digits: number) => {
    block.write(value.toString(8).padStart(digits, "0"), at, "latin1");
  };
  block.write(path, 0, "latin1");
  octal(mode, 100, 7);
  octal(uid, 108, 7);
  octal(gid, 116, 7);
  octal(size, 124, 11);
  octal(mtime, 136, 11);
  block.fill(" ", 148, 156);
  block.write(flag, 156, "latin1");
  block.write(target, 157, "latin1");
  block.write("ustar\u000000", 257, "latin1");
  let sum = 0;
  for (const octet of block) sum += octet;
  octal(sum, 148, 6);
  block[154] = 0;
  return block;
}
