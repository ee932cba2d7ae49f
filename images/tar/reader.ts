/**
 * Reads a tar archive as it streams by: POSIX ustar and pax (POSIX.1-2017, pax, "EXTENDED
 * DESCRIPTION"), and GNU's long names and binary numbers.
 *
 * Pure: octets in, entries out. Strict: what it cannot read exactly is an error, since another
 * reader might take it for something else. Never holds more than a block, or one extended header.
 *
 *   0    100   108  116  124   136    148    156  157   257    263  265 ...  345     500
 *   name mode  uid  gid  size  mtime  chksum type link  magic  version       prefix  (512)
 */

import { attributePrefix, quote, type TarEntry, TarError, type TarType } from "./entry.ts";

export interface TarSink {
  /** @throws to refuse it, and with it the archive */
  entry(entry: TarEntry): void;
  /** Octets of the entry told last, in order; the buffer is the caller's own. */
  content(part: Buffer): void;
}

export interface TarReader {
  /**
   * @returns how many octets were read: less than all once the end marker was among them
   * @throws TarError
   */
  write(chunk: Buffer): number;
  /** @throws TarError when the archive is cut off */
  end(): void;
}

const blockOctets = 512;
const maxHeaderOctets = 1 << 20;

const types: Readonly<Record<string, TarType>> = {
  "\0": "file",
  "0": "file",
  "1": "link",
  "2": "symbolic link",
  "3": "character device",
  "4": "block device",
  "5": "directory",
  "6": "FIFO",
  "7": "file", // "contiguous"
};

/** What extended headers say of the entry that follows. */
type Records = Map<string, Buffer>;

export function createTarReader(sink: TarSink): TarReader {
  const block = Buffer.alloc(blockOctets);
  let filled = 0;
  /** Left of an entry's content, and of the zeros behind it. */
  let content = 0;
  let padding = 0;
  /** An extended header that is being collected. */
  let extended: { readonly type: string; readonly octets: Buffer; filled: number } | undefined;
  let own: Records = new Map();
  const common: Records = new Map();
  let zeroBlocks = 0;
  let seen = 0;

  function header(octets: Buffer): void {
    if (octets[0] === 0 && octets.every((octet) => octet === 0)) {
      zeroBlocks++;
      return;
    }
    zeroBlocks = 0;
    checkSum(octets, seen);
    const type = String.fromCharCode(octets[156] ?? 0);
    if ("xgLK".includes(type)) {
      const size = numberAt(octets, 124, 12);
      if (size < 0 || size > maxHeaderOctets) {
        throw new TarError(`an extended header of ${size} octets`);
      }
      extended = { type, octets: Buffer.alloc(size), filled: 0 };
      padding = paddingOf(size);
      if (size === 0) extendedHeader();
      return;
    }
    const entry = entryOf(octets, type, own, common);
    own = new Map();
    content = entry.size;
    padding = paddingOf(entry.size);
    sink.entry(entry);
  }

  function extendedHeader(): void {
    if (!extended) return;
    const { type, octets } = extended;
    extended = undefined;
    if (type === "L") own.set("path", untilNul(octets));
    else if (type === "K") own.set("linkpath", untilNul(octets));
    else readRecords(octets, type === "x" ? own : common);
  }

  function step(chunk: Buffer): number {
    if (extended) {
      const part = chunk.subarray(0, extended.octets.length - extended.filled);
      part.copy(extended.octets, extended.filled);
      extended.filled += part.length;
      if (extended.filled === extended.octets.length) extendedHeader();
      return part.length;
    }
    if (content > 0) {
      const part = chunk.subarray(0, content);
      content -= part.length;
      sink.content(part);
      return part.length;
    }
    if (padding > 0) {
      const length = Math.min(padding, chunk.length);
      padding -= length;
      return length;
    }
    if (filled === 0 && chunk.length >= blockOctets) {
      header(chunk.subarray(0, blockOctets));
      return blockOctets;
    }
    const part = chunk.subarray(0, blockOctets - filled);
    part.copy(block, filled);
    filled += part.length;
    if (filled === blockOctets) {
      filled = 0;
      header(block);
    }
    return part.length;
  }

  return {
    write(chunk) {
      let at = 0;
      while (at < chunk.length && zeroBlocks < 2) {
        const length = step(chunk.subarray(at));
        at += length;
        seen += length;
      }
      return at;
    },
    end() {
      if (zeroBlocks < 2) throw new TarError("it is cut off: it has no end marker");
    },
  };
}

function paddingOf(size: number): number {
  return (blockOctets - (size % blockOctets)) % blockOctets;
}

function checkSum(octets: Buffer, at: number): void {
  let sum = 8 * 0x20; // the field itself counts as blanks
  for (let index = 0; index < blockOctets; index++) {
    if (index < 148 || index >= 156) sum += octets[index] ?? 0;
  }
  if (numberAt(octets, 148, 8) !== sum) {
    throw new TarError(`a header with a wrong checksum at octet ${at}`);
  }
}

/** Octal digits, or with the first bit set a binary number in two's complement. */
function numberAt(octets: Buffer, at: number, length: number): number {
  const first = octets[at] ?? 0;
  if (first >= 0x80) {
    let value = first >= 0xc0 ? first - 0x100 : first - 0x80;
    for (let index = at + 1; index < at + length; index++)
      value = value * 256 + (octets[index] ?? 0);
    if (Number.isSafeInteger(value)) return value;
  } else {
    const text = textAt(octets, at, length).trim();
    if (/^[0-7]*$/.test(text)) return Number.parseInt(text || "0", 8);
  }
  throw new TarError(`a header with a wrong number at its octet ${at}`);
}

function textAt(octets: Buffer, at: number, length: number): string {
  const text = octets.toString("latin1", at, at + length);
  const end = text.indexOf("\0");
  return end < 0 ? text : text.slice(0, end);
}

function untilNul(octets: Buffer): Buffer {
  const end = octets.indexOf(0);
  return end < 0 ? octets : octets.subarray(0, end);
}

/**
 * `<length> <keyword>=<value>\n`, the length in octets and with itself; an empty value takes back
 * what an earlier header said.
 */
function readRecords(octets: Buffer, records: Records): void {
  for (let at = 0; at < octets.length; ) {
    const digits = /^(\d{1,8}) /.exec(octets.toString("latin1", at, at + 9))?.[1] ?? "";
    const end = at + Number(digits);
    const equals = octets.indexOf("=", at);
    const begin = at + digits.length + 1;
    if (
      digits === "" ||
      end > octets.length ||
      equals < begin ||
      equals >= end - 1 ||
      octets[end - 1] !== 0x0a
    ) {
      throw new TarError("an extended header that cannot be read");
    }
    const keyword = octets.toString("latin1", begin, equals);
    if (keyword.startsWith("GNU.sparse.")) throw new TarError("a file with holes (GNU.sparse)");
    records.set(keyword, octets.subarray(equals + 1, end - 1));
    at = end;
  }
}

function entryOf(octets: Buffer, flag: string, own: Records, common: Records): TarEntry {
  const recorded = (name: string) => {
    const value = own.get(name) ?? common.get(name);
    return value === undefined || value.length === 0 ? undefined : value.toString("latin1");
  };
  const number = (name: string, at: number, length: number) => {
    const value = recorded(name);
    if (value === undefined) return numberAt(octets, at, length);
    if (!/^\d{1,15}$/.test(value)) throw new TarError(`an extended header with ${name}=${value}`);
    return Number(value);
  };
  const path = recorded("path") ?? headerPath(octets);
  const type = typeOf(flag, path);
  const isLink = type === "link" || type === "symbolic link";
  const mtime = recorded("mtime") ?? String(numberAt(octets, 136, 12));
  if (!/^-?\d{1,15}(\.\d{1,20})?$/.test(mtime)) {
    throw new TarError(`${quote(path)} has the time ${quote(mtime)}`);
  }
  return {
    path,
    type,
    target: isLink ? (recorded("linkpath") ?? textAt(octets, 157, 100)) : "",
    mode: numberAt(octets, 100, 8) & 0o7777,
    uid: owner(number("uid", 108, 8)),
    gid: owner(number("gid", 116, 8)),
    mtime,
    size: sizeOf(path, type, number("size", 124, 12)),
    attributes: own.size + common.size === 0 ? own : attributesOf(new Map([...common, ...own])),
  };
}

function typeOf(flag: string, path: string): TarType {
  const type = types[flag];
  if (type === undefined) throw new TarError(`${quote(path)} has the unknown type ${quote(flag)}`);
  return type === "file" && path.endsWith("/") ? "directory" : type; // as archives before POSIX say it
}

function attributesOf(records: Records): TarEntry["attributes"] {
  const isAttribute = ([name, value]: readonly [string, Buffer]) =>
    name.startsWith(attributePrefix) && value.length > 0;
  return new Map([...records].filter(isAttribute));
}

function headerPath(octets: Buffer): string {
  const name = textAt(octets, 0, 100);
  if (octets.toString("latin1", 257, 263) !== "ustar\0") return name; // GNU has other things there
  const prefix = textAt(octets, 345, 155);
  return prefix === "" ? name : `${prefix}/${name}`;
}

function owner(id: number): number {
  if (id < 0 || id >= 0xffff_ffff) throw new TarError(`an owner with the number ${id}`);
  return id;
}

/** Directories and hard links may tell a size that they have elsewhere: no content follows. */
function sizeOf(path: string, type: TarType, told: number): number {
  if (type === "directory" || type === "link") return 0;
  if (told < 0 || !Number.isSafeInteger(told) || (type !== "file" && told !== 0)) {
    throw new TarError(`${quote(path)} (${type}) has a size of ${told} octets`);
  }
  return told;
}
