import test from "ava";
import { parseIpv4Address as ip } from "#protocol/brand.ts";
import { findNeighbour, neighbourOf, readNeighbours } from "../../server/net/neighbour-table.ts";

// As Linux 6.1 writes it.
const table = `IP address       HW type     Flags       HW address            Mask     Device
10.77.0.150      0x1         0x2         52:54:00:00:00:01     *        eth1
10.77.0.151      0x1         0x0         00:00:00:00:00:00     *        eth1
10.77.0.15       0x1         0x6         52:54:00:00:00:02     *        eth1
10.99.0.7        0x20        0x2         80:00:02:08:fe:80:00:00:00     *        ib0
`;

const rows = [
  ["a neighbour that answered", "10.77.0.150", "52:54:00:00:00:01"],
  ["a permanent one, whose address is another's beginning", "10.77.0.15", "52:54:00:00:00:02"],
  ["one that did not answer", "10.77.0.151", undefined],
  ["one on InfiniBand", "10.99.0.7", undefined],
  ["one nobody asked for", "10.77.0.1", undefined],
] as const;
for (const [title, address, expected] of rows) {
  test(`${title}: ${expected}`, (t) => {
    t.is(findNeighbour(table, ip(address)) as string | undefined, expected);
  });
}

test("all neighbours are those with an Ethernet address", (t) => {
  t.deepEqual([...readNeighbours(table).keys()].map(String), ["10.77.0.150", "10.77.0.15"]);
});

test("an address of nobody is not in this machine's table", (t) => {
  t.is(neighbourOf(ip("203.0.113.77")), undefined);
});
