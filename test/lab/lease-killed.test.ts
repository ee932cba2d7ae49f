/** The short form of `node test/lab/lease-killed.ts`; needs neither root nor a network. */

import test from "ava";
import { killServers, points } from "./lease-killed.ts";

test("what clients were told is in the lease file, wherever the server was killed", async (t) => {
  const counts = await killServers(5 * points.length, () => undefined);
  t.is(counts.lost, 0);
  t.is(counts.twice, 0);
  t.true(counts.acknowledged > 0);
});
