import test from "ava";
import { fuzzDiscovery } from "../fuzz/discovery-fuzz.ts";

const seed = Number(process.env["FUZZ_SEED"] ?? Date.now() % 0xffff_ffff);

test(`damaged datagrams are answered or ignored, and never believed (FUZZ_SEED=${seed})`, (t) => {
  const { faults, understood } = fuzzDiscovery({ seed, datagrams: 9000 });
  t.deepEqual(faults, []);
  for (const [role, count] of Object.entries(understood)) t.true(count > 0, role);
});
