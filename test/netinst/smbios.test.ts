import test from "ava";
import { memoryModulesOf } from "../../netinst/smbios.ts";

/** A structure as DSP0134 §6.1.2 has it: header, formatted part, texts, two NULs. */
function structure(type: number, formatted: Buffer, texts: readonly string[]): Buffer {
  const header = Buffer.from([type, 4 + formatted.length, 0x00, 0x11]);
  const strings = texts.length === 0 ? "\0\0" : `${texts.join("\0")}\0\0`;
  return Buffer.concat([header, formatted, Buffer.from(strings, "latin1")]);
}

interface Socket {
  readonly size?: number;
  readonly extended?: number;
  readonly type?: number;
  readonly speed?: number;
  readonly configured?: number;
  readonly length?: number;
}

/** §7.18, the offsets of the table less the header's four octets. */
function memoryDevice(socket: Socket, texts: readonly string[]): Buffer {
  const formatted = Buffer.alloc((socket.length ?? 0x28) - 4);
  const put = (offset: number, write: (at: number) => void) => {
    if (offset + 2 <= formatted.length + 4) write(offset - 4);
  };
  put(0x0c, (at) => formatted.writeUInt16LE(socket.size ?? 8192, at));
  put(0x10, (at) => formatted.writeUInt8(1, at));
  put(0x12, (at) => formatted.writeUInt8(socket.type ?? 0x1a, at));
  put(0x15, (at) => formatted.writeUInt16LE(socket.speed ?? 3200, at));
  put(0x17, (at) => formatted.writeUInt8(2, at));
  put(0x18, (at) => formatted.writeUInt8(3, at));
  put(0x1a, (at) => formatted.writeUInt8(4, at));
  put(
    0x1c,
    (at) => formatted.length >= at + 4 && formatted.writeUInt32LE(socket.extended ?? 0, at),
  );
  put(0x20, (at) => formatted.writeUInt16LE(socket.configured ?? 0, at));
  return structure(17, formatted, texts);
}

const texts = ["DIMM_A1", "Samsung", "0F1E2D3C", "M393A1K43DB2  "];
const full = {
  socket: "DIMM_A1",
  type: "DDR4",
  manufacturer: "Samsung",
  part: "M393A1K43DB2",
  serial: "0F1E2D3C",
};
const end = structure(127, Buffer.alloc(0), []);

const rows: readonly (readonly [string, Socket, object])[] = [
  ["a module with everything", {}, { ...full, sizeMiB: 8192, speedMTs: 3200 }],
  ["the speed it runs at counts", { configured: 2933 }, { ...full, sizeMiB: 8192, speedMTs: 2933 }],
  [
    "32 GiB and more are in the longer member",
    { size: 0x7fff, extended: 65_536 },
    { ...full, sizeMiB: 65_536, speedMTs: 3200 },
  ],
  ["a size in KiB", { size: 0x8000 | 2048 }, { ...full, sizeMiB: 2, speedMTs: 3200 }],
  [
    "a type nobody knew yet, and no speed",
    { type: 0x7f, speed: 0 },
    {
      socket: "DIMM_A1",
      manufacturer: "Samsung",
      part: "M393A1K43DB2",
      serial: "0F1E2D3C",
      sizeMiB: 8192,
    },
  ],
  [
    "an old firmware's short structure (SMBIOS 2.1)",
    { length: 0x15 },
    { socket: "DIMM_A1", type: "DDR4", sizeMiB: 8192 },
  ],
];
for (const [title, socket, module] of rows) {
  test(title, (t) => {
    const bios = structure(0, Buffer.alloc(20), ["vendor", "1.0"]);
    const table = Buffer.concat([bios, memoryDevice(socket, texts), end]);
    t.deepEqual(memoryModulesOf(table), [module] as never);
  });
}

test("empty sockets, and those of unknown size, are left out", (t) => {
  const table = Buffer.concat([
    memoryDevice({ size: 0 }, texts),
    memoryDevice({ size: 0xffff }, texts),
    memoryDevice({}, texts),
  ]);
  t.is(memoryModulesOf(table).length, 1);
});

test("what firmwares write for nothing is no text", (t) => {
  const table = memoryDevice({}, ["DIMM 0", "Not Specified", "00000000", "Unknown"]);
  t.deepEqual(memoryModulesOf(table), [
    { socket: "DIMM 0", sizeMiB: 8192, type: "DDR4", speedMTs: 3200 },
  ]);
});

test("a table that breaks off anywhere ends there, and never fails", (t) => {
  const table = Buffer.concat([memoryDevice({}, texts), memoryDevice({}, texts), end]);
  for (let length = 0; length < table.length; length++) {
    t.true(memoryModulesOf(table.subarray(0, length)).length <= 2);
  }
  t.deepEqual(memoryModulesOf(Buffer.from([17, 0, 0, 0, 0, 0])), []);
});
