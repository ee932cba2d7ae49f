/**
 * Gives the load generator's addresses their leases: our server serves boot files only
 * to nodes it gave an address to. A process of its own inside the clients' namespace.
 *
 *   node leases.ts <first address> <count>     exit code 0 when each was acknowledged
 */

import { createSocket } from "node:dgram";
import {
  addressNumber,
  addressOctets,
  clientPort,
  macOf,
  messageType,
  readAnswer,
  romMessage,
  serverPort,
} from "./dhcp-messages.ts";

const [first = "", countText = "1"] = process.argv.slice(2);
const count = Number(countText);
const firstXid = 0x6d620000;
const repeatAfterMs = 1000;
const giveUpAfterMs = 20_000;

interface Client {
  readonly wish: Uint8Array;
  readonly xid: number;
  /** Server identifier of the OFFER. */
  server?: Uint8Array;
  bound: boolean;
}

const clients = Array.from({ length: count }, (_, index): Client => {
  return {
    wish: addressOctets(addressNumber(first) + index),
    xid: firstXid + index,
    bound: false,
  };
});
const socket = createSocket({ type: "udp4", reuseAddr: true });

function send({ wish, xid, server, bound }: Client): void {
  if (bound) return;
  const type = server ? messageType.request : messageType.discover;
  const message = romMessage({
    type,
    mac: macOf(wish),
    xid,
    broadcast: true,
    wish,
    ...(server && { server }),
  });
  socket.send(message, serverPort, "255.255.255.255");
}

socket.on("message", (packet) => {
  const answer = readAnswer(packet);
  const client = answer && clients[answer.xid - firstXid];
  if (!client || client.bound) return;
  if (Buffer.compare(answer.address, client.wish) !== 0) {
    throw new Error(`given ${answer.address.join(".")}, not ${client.wish.join(".")}`);
  }
  if (answer.type === messageType.offer && !client.server) {
    client.server = answer.server;
    send(client);
  } else if (answer.type === messageType.ack) {
    client.bound = true;
    if (clients.every(({ bound }) => bound)) process.exit(0);
  }
});
socket.bind(clientPort, () => {
  socket.setBroadcast(true);
  const all = () => {
    for (const client of clients) send(client);
  };
  all();
  setInterval(all, repeatAfterMs);
  setTimeout(() => {
    const left = clients.filter(({ bound }) => !bound).length;
    process.stderr.write(`${left} of ${count} clients got no lease\n`);
    process.exit(1);
  }, giveUpAfterMs);
});
