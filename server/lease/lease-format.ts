/**
 * The octets of the lease file. The first line says in which boot of the machine it was
 * begun, and when that boot began by the clock of then; it has a checksum too. Each other
 * line is one commit: a checksum and a JSON list of records, of which the last for an
 * address counts.
 *
 * Pure: nothing here opens a file.
 *
 *   marcoboot-leases 2 5c2f88d1 {"id":"5b1c…","began":1799990000000}\n
 *   8a5f0c21 [["10.77.0.100","p","52:54:00:00:00:01",1800000000000]]      \n
 *   01bc77ee [["10.77.0.101","d","52:54:00:00:00:02",1800000600000],["10.77.0.100","f"]]      \n
 *   \0\0\0...
 *
 * Blanks fill each line up to the end of a block, so that no commit is written into
 * a block that holds an earlier one: a power cut in the middle of a write may take
 * the whole block. Only the last line can be torn then, which was acknowledged to
 * nobody: it is cut. A line that is wrong before a right one is damage: the file is
 * refused. Lines of other lengths, which earlier versions wrote, are read as well.
 */

import { crc32 } from "node:zlib";
import {
  type Instant,
  type Ipv4Address,
  instant,
  type MacAddress,
  parseIpv4Address,
  parseMacAddress,
} from "#protocol/brand.ts";
import type { MachineBoot } from "../clock.ts";
import { ConfigurationError } from "../errors.ts";

export type LeaseRecord =
  /** The address is this client's until then, whether it took the offer or not. */
  | {
      readonly state: "promised";
      readonly address: Ipv4Address;
      readonly mac: MacAddress;
      readonly until: Instant;
      /** Option 61 in hexadecimal digits, of a client that is known by it. */
      readonly clientId?: string;
    }
  /** In use by somebody else: offered to nobody until then. `mac`: who found out. */
  | {
      readonly state: "declined";
      readonly address: Ipv4Address;
      readonly mac: MacAddress;
      readonly until: Instant;
    }
  | { readonly state: "free"; readonly address: Ipv4Address };

/** Octets that a disk may write as one, and lose as one. */
export const block = 4096;
const header = "marcoboot-leases ";
const version = 2;
/** The first version had nothing behind its number. */
const firstLine = /^marcoboot-leases (?<found>\d+)(?: (?<sum>[0-9a-f]{8}) (?<body>.*))?$/;
/** Where the list of a line begins: behind the checksum and a blank. */
const listAt = 9;
/** Records per line of a new file. */
const slice = 500;
const letters = { promised: "p", declined: "d", free: "f" } as const;

export interface Found {
  /** The last record of each address, none that is free. */
  readonly records: readonly LeaseRecord[];
  /** In which it was begun. */
  readonly boot?: MachineBoot;
  /** Where a line begins that was not written to its end. */
  readonly torn?: number;
}

/**
 * What the octets of a lease file say.
 *
 * @throws ConfigurationError naming the octet from which on it is damaged
 */
export function decodeLeaseFile(bytes: Uint8Array, path: string): Found {
  const refuse = (reason: string, cause?: unknown) =>
    new ConfigurationError(
      `lease file ${path}: ${reason}: restore a backup, or move it away and lose its leases`,
      { cause },
    );
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const first = text.indexOf("\n");
  const boot = decodeFirstLine(text.subarray(0, Math.max(first, 0)).toString("latin1"), refuse);
  const records = new Map<Ipv4Address, LeaseRecord>();
  let torn: number | undefined;
  for (let start = first + 1; start < text.length; ) {
    const end = text.indexOf("\n", start);
    const line = decodeLine(text.subarray(start, end < 0 ? text.length : end));
    if (line && end >= 0) {
      if (torn !== undefined) throw refuse(`damaged from octet ${torn} on`);
      for (const record of line) records.set(record.address, record);
    } else {
      torn ??= start;
    }
    if (end < 0) break;
    start = end + 1;
  }
  const rest = torn === undefined ? undefined : text.subarray(torn);
  return {
    records: [...records.values()].filter((record) => record.state !== "free"),
    ...(boot && { boot }),
    ...(torn !== undefined && !rest?.equals(Buffer.alloc(rest.length)) && { torn }),
  };
}

function decodeFirstLine(line: string, refuse: (reason: string) => Error): MachineBoot | undefined {
  const { found, sum, body } = firstLine.exec(line)?.groups ?? {};
  if (!line.startsWith(header)) throw refuse("it does not begin as one");
  if (found === "1" && body === undefined) return undefined;
  if (found === String(version) && body !== undefined && checksum(Buffer.from(body)) === sum) {
    return (JSON.parse(body) as MachineBoot | null) ?? undefined;
  }
  const [, number = ""] = line.split(" ");
  if (!(Number(number) > version)) throw refuse("its first line is damaged");
  throw refuse(`it has version ${number}, this marcoboot knows ${version}`);
}

/** What a new file begins with. Its records are some lines, for one that has many is slow to make. */
export function* encodeLeaseFile(
  records: readonly LeaseRecord[],
  boot?: MachineBoot,
): Iterable<Buffer> {
  const body = JSON.stringify(boot ?? null);
  const first = Buffer.from(`${header}${version} ${checksum(Buffer.from(body))} ${body}\n`);
  yield first;
  yield encodeLine(records.slice(0, slice), first.length);
  for (let start = slice; start < records.length; start += slice) {
    yield encodeLine(records.slice(start, start + slice));
  }
}

/**
 * One commit as a line.
 *
 * @param taken - octets of its first block that are taken
 */
export function encodeLine(records: readonly LeaseRecord[], taken = 0): Buffer {
  const list = JSON.stringify(records.map(toRow)); // all of it ASCII
  const blocks = Math.ceil((taken + listAt + list.length + 1) / block);
  const line = Buffer.alloc(blocks * block - taken, " ");
  line.write(list, listAt, "latin1");
  line.write(checksum(line.subarray(listAt, -1)), "latin1");
  line.write("\n", line.length - 1, "latin1");
  return line;
}

function toRow(record: LeaseRecord): readonly (string | number)[] {
  const letter = letters[record.state];
  switch (record.state) {
    case "free":
      return [record.address, letter];
    case "declined":
      return [record.address, letter, record.mac, Math.trunc(record.until)];
    case "promised": {
      const { address, mac, until, clientId } = record;
      const row = [address, letter, mac, Math.trunc(until)];
      return clientId === undefined ? row : [...row, clientId];
    }
  }
}

/** `undefined`: torn or damaged. */
function decodeLine(line: Buffer): readonly LeaseRecord[] | undefined {
  const body = line.subarray(listAt);
  if (line.subarray(0, listAt).toString("latin1") !== `${checksum(body)} `) return undefined;
  return (JSON.parse(body.toString("utf8")) as readonly unknown[][]).map(fromRow);
}

/** Only {@link toRow} wrote it: the checksum was right. */
function fromRow([address, letter, mac, until, clientId]: readonly unknown[]): LeaseRecord {
  const free = { state: "free", address: parseIpv4Address(String(address)) } as const;
  if (letter === letters.free) return free;
  const held = {
    address: free.address,
    mac: parseMacAddress(String(mac)),
    until: instant(Number(until)),
  };
  if (letter === letters.declined) return { state: "declined", ...held };
  return {
    state: "promised",
    ...held,
    ...(clientId !== undefined && { clientId: String(clientId) }),
  };
}

function checksum(body: Uint8Array): string {
  return crc32(body).toString(16).padStart(8, "0");
}
