/**
 * A DHCP server without a network, to be killed: requests come on standard input, replies
 * leave on standard output, each behind its length in two octets. Decoding, deciding,
 * the lease file and the wait for the disk are the product's own.
 *
 *   node lease-killed-child.ts <lease file> [<point> <count>]
 *
 * It kills itself when it comes to `point` (see lease-killed.ts) for the `count`th time.
 */

import { writeSync } from "node:fs";
import { systemClock } from "../../server/clock.ts";
import { decodePacket } from "../../server/dhcp/codec/packet.ts";
import type { HandlerContext } from "../../server/dhcp/decision.ts";
import { openDelivery } from "../../server/dhcp/delivery.ts";
import { handlePacket } from "../../server/dhcp/handler.ts";
import { createRecent } from "../../server/dhcp/recent.ts";
import { noAdmission } from "../../server/lease/admission.ts";
import { type LeaseFile, openLeaseFile } from "../../server/lease/lease-file.ts";
import { createLeases } from "../../server/lease/leases.ts";
import { silentLog } from "../../server/log.ts";
import { bigSubnet, type Point, relay } from "./lease-killed.ts";

const [path = "", point, count = "0"] = process.argv.slice(2);
let left = Number(count);
const at = (here: Point): void => {
  if (here !== point || --left > 0) return;
  process.kill(process.pid, "SIGKILL");
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); // the signal ends this wait
};

const real = await openLeaseFile(path, { clock: systemClock, log: silentLog });
const file: LeaseFile = {
  ...real,
  async append(records, live) {
    at("before the write");
    const written = real.append(records, live);
    at("in the write");
    await written;
    at("after the write");
  },
};
const events = {
  publish: () => undefined,
  subscribe: () => () => undefined,
  on: () => () => undefined,
};
const nothing = { byMac: () => undefined, byAddress: () => undefined, list: () => [] };
const leases = createLeases({
  store: {
    transaction: (work) => work(),
    reservations: { ...nothing, put: () => undefined, delete: () => undefined },
  },
  file,
  clock: systemClock,
  events,
});
const handler: HandlerContext = {
  subnets: [bigSubnet],
  server: { address: relay, httpUrl: "http://10.64.0.1" },
  leases,
  admission: noAdmission,
  boot: { reply: () => undefined },
  events,
  recent: createRecent(),
};
const delivery = await openDelivery(
  {
    interfaceName: "none",
    address: relay,
    dhcpPort: 67,
    socket: {
      boundToDevice: true,
      port: 67,
      send(bytes) {
        at("before the reply");
        writeSync(1, Buffer.concat([Uint8Array.of(bytes.length >> 8, bytes.length & 255), bytes]));
        at("after the reply");
      },
      onMessage: () => undefined,
      close: async () => undefined,
    },
    leases,
    neighbours: {
      set: () => undefined,
      setAll: () => undefined,
      correct: () => undefined,
      release: () => undefined,
      remove: () => undefined,
      close: () => undefined,
    },
    clock: systemClock,
    log: silentLog,
    count: () => undefined,
  },
  async () => undefined,
);

let unread: Buffer = Buffer.alloc(0);
process.stdin.on("data", (bytes: Buffer) => {
  unread = Buffer.concat([unread, bytes]);
  for (;;) {
    const size = unread.length < 2 ? Number.POSITIVE_INFINITY : unread.readUInt16BE(0);
    if (unread.length < 2 + size) return;
    const decision = handlePacket(decodePacket(unread.subarray(2, 2 + size)), handler);
    unread = unread.subarray(2 + size);
    if (decision.kind === "reply") delivery.send(decision);
  }
});
