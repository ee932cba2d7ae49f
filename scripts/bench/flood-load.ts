/**
 * A flood of DISCOVERs, each with a MAC address nobody has seen: a process of its own
 * inside the clients' namespace.
 *
 *   node flood-load.ts <own address> <count> <per second>     prints how many were sent in how many seconds
 */

import { randomBytes } from "node:crypto";
import { addressNumber, messageType, romMessage, serverPort } from "./dhcp-messages.ts";
import { openBatchSocket } from "./mmsg.ts";

const [own = "", countText = "", rateText = ""] = process.argv.slice(2);
const from = addressNumber(own);
const everybody = 0xffff_ffff;
const count = Number(countText);
const rate = Number(rateText);
/** Not 68: the node that boots beside this one listens there. */
const sourcePort = 30_068;

const socket = openBatchSocket({
  port: sourcePort,
  slots: 32,
  slotSize: 512,
  bufferBytes: 8 * 1024 * 1024,
});
const packet = romMessage({
  type: messageType.discover,
  mac: new Uint8Array(6),
  xid: 0,
  broadcast: false,
});
const begun = performance.now();
let sent = 0;
while (sent < count) {
  const due = Math.min(count, ((performance.now() - begun) / 1000) * rate);
  for (; sent < due; sent++) {
    packet.set(randomBytes(4), 4); // xid
    packet.set([2, ...randomBytes(5)], 28); // locally administered
    socket.send(packet, from, everybody, serverPort);
  }
  socket.flush();
  await new Promise((resolve) => setTimeout(resolve, 1));
}
const seconds = (performance.now() - begun) / 1000;
process.stdout.write(`${JSON.stringify({ sent, seconds })}\n`);
