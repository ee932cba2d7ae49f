import test from "ava";
import { firstFatPartition } from "../../scripts/lab/boot-rom.ts";

test("the first FAT partition of an MBR is found, in octets", (t) => {
  const sector = Buffer.alloc(512);
  t.is(firstFatPartition(sector), undefined, "no signature");
  sector.writeUInt16LE(0xaa55, 510);
  sector[450] = 0x83;
  t.is(firstFatPartition(sector), undefined, "Linux only");
  sector[466] = 0x0c;
  sector.writeUInt32LE(2048, 470);
  t.is(firstFatPartition(sector), 1_048_576);
});
