import test from "ava";
import { fuzzTftp } from "../fuzz/tftp-fuzz.ts";

const seed = Number(process.env["FUZZ_SEED"] ?? Date.now() % 0xffff_ffff);

test(`hostile datagrams are answered, ignored or refused, never more (FUZZ_SEED=${seed})`, (t) => {
  const report = fuzzTftp({ seed, datagrams: 60_000 });
  t.deepEqual(report.faults, []);
  t.is(report.amplification, 0);
  for (const kind of ["data", "option-ack", "error"]) t.true((report.sent[kind] ?? 0) > 0, kind);
  for (const label of ["malformed", "lowPort", "unknown", "repeated"]) {
    t.true((report.counts[label] ?? 0) > 0, `no datagram came to ${label}: ${seed}`);
  }
});
