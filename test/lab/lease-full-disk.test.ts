/** The lease file on a disk that is full, and then is not; root is needed for a small file system. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { systemClock } from "../../server/clock.ts";
import { UnavailableError } from "../../server/errors.ts";
import { openLeaseFile } from "../../server/lease/lease-file.ts";
import { createLeases } from "../../server/lease/leases.ts";
import { silentLog } from "../../server/log.ts";
import { ip, mac, network, subnet } from "../support/network.ts";

const lab = process.getuid?.() === 0 ? test : test.skip;
if (process.getuid?.() !== 0) console.warn("skipped: a file system of its own needs root");

const mebibyte = 1 << 20;
const wide = { ...subnet, pool: { first: ip("10.77.0.100"), last: ip("10.77.0.200") } };

lab(
  "a full disk withholds the pool's offers and no others; with room again all is durable",
  async (t) => {
    const directory = mkdtempSync(join(tmpdir(), "marcoboot-full-"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", directory]);
    t.teardown(() => {
      execFileSync("umount", ["-l", directory]);
      rmSync(directory, { recursive: true });
    });
    const path = join(directory, "leases");
    const file = await openLeaseFile(path, { clock: systemClock, log: silentLog });
    const { store, events } = network();
    const leases = createLeases({ store, file, clock: systemClock, events });
    const ballast = join(directory, "ballast");
    t.throws(() => writeFileSync(ballast, Buffer.alloc(4 * mebibyte)), { code: "ENOSPC" });

    // more than what is left of the block the file ends in
    const clients = Array.from({ length: 90 }, (_, index) => mac(`52:54:00:00:01:${10 + index}`));
    for (const client of clients) leases.offer(client, wide);
    const node = mac("52:54:00:00:00:0b");
    leases.reserve({ mac: node, subnet: wide });
    leases.offer(node, wide);
    for (const client of clients.slice(0, 2)) {
      await t.throwsAsync(leases.committed(client), {
        instanceOf: UnavailableError,
        message: /ENOSPC/,
      });
    }
    await t.notThrowsAsync(leases.committed(node));

    rmSync(ballast);
    await Promise.all(clients.map((client) => leases.committed(client)));
    await file.close();
    const again = await openLeaseFile(path, { clock: systemClock, log: silentLog });
    t.deepEqual(
      again.found.map((record) => record.state === "promised" && record.mac),
      clients,
    );
    await again.close();
  },
);
