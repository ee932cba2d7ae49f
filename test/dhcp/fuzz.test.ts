import test from "ava";
import { decodePacket } from "../../server/dhcp/codec/packet.ts";
import { PacketError } from "../../server/errors.ts";
import { fuzzDhcp } from "../fuzz/dhcp-fuzz.ts";
import { corpus } from "../support/dhcp.ts";

const seed = Number(process.env["FUZZ_SEED"] ?? Date.now() % 0xffff_ffff);

test(`hostile packets are answered, ignored or refused, never more (FUZZ_SEED=${seed})`, (t) => {
  const report = fuzzDhcp({ seed, packets: 100_000 });
  t.deepEqual(report.faults, []);
  for (const label of ["offer", "ack", "nak", "malformed", "unknown-client", "unknown-relay"]) {
    t.true((report.outcomes[label] ?? 0) > 0, `no packet came to ${label}: ${seed}`);
  }
});

test("every real packet cut at every length is decoded or refused", (t) => {
  let refused = 0;
  for (const [name, bytes] of corpus()) {
    for (let length = 0; length < bytes.length; length++) {
      try {
        decodePacket(bytes.subarray(0, length));
      } catch (error) {
        if (!(error instanceof PacketError)) t.fail(`${name} at ${length}: ${error}`);
        refused += 1;
      }
    }
  }
  t.true(refused > corpus().length * 240);
});
