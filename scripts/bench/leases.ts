/**
 * Gives the load generator's addresses their leases: our server serves boot files only
 * to nodes it gave an address to. A process of its own inside the clients' namespace.
 *
 *   node leases.ts <first address> <count>     exit code 0 when each was acknowledged
 *
 * The messages are those of a BIOS PXE ROM (RFC 2131, 4578), with the broadcast flag.
 */

import { createSocket } from "node:dgram";

const [first = "", countText = "1"] = process.argv.slice(2);
const count = Number(countText);
const firstNumber = first.split(".").reduce((number, octet) => number * 256 + Number(octet), 0);
const repeatAfterMs = 1000;
const giveUpAfterMs = 20_000;

interface Client {
  readonly mac: Buffer;
  readonly xid: number;
  readonly wish: Buffer;
  /** Server identifier of the OFFER. */
  server?: Buffer;
  bound: boolean;
}

const clients = Array.from({ length: count }, (_, index): Client => {
  const wish = Buffer.alloc(4);
  wish.writeUInt32BE(firstNumber + index);
  return {
    // 02: locally administered; the rest is the address, as bench/arena.ts writes its neighbour entries.
    mac: Buffer.from([0x02, 0x00, ...wish]),
    xid: 0x6d620000 + index,
    wish,
    bound: false,
  };
});
const socket = createSocket({ type: "udp4", reuseAddr: true });

function option(code: number, ...value: readonly number[]): readonly number[] {
  return [code, value.length, ...value];
}

function message({ mac, xid, wish, server }: Client): Buffer {
  const packet = Buffer.alloc(240);
  packet.set([1, 1, 6, 0]); // BOOTREQUEST, Ethernet
  packet.writeUInt32BE(xid, 4);
  packet.writeUInt16BE(0x8000, 10);
  packet.set(mac, 28);
  packet.writeUInt32BE(0x63825363, 236);
  const vendorClass = Buffer.from("PXEClient:Arch:00000:UNDI:002001", "latin1");
  return Buffer.from([
    ...packet,
    ...option(53, server ? 3 : 1),
    ...option(50, ...wish),
    ...(server ? option(54, ...server) : []),
    ...option(55, 1, 3, 43, 51, 54, 60, 66, 67),
    ...option(60, ...vendorClass),
    ...option(93, 0, 0),
    ...option(94, 1, 2, 1),
    255,
  ]);
}

/** @throws never: a packet that is no answer to us is not ours to judge */
function optionOf(packet: Buffer, wanted: number): Buffer | undefined {
  for (let at = 240; at + 1 < packet.length && packet[at] !== 255; ) {
    const code = packet[at];
    const length = code === 0 ? -1 : (packet[at + 1] ?? 0);
    if (code === wanted) return packet.subarray(at + 2, at + 2 + length);
    at += 2 + length;
  }
  return undefined;
}

function send(client: Client): void {
  if (!client.bound) socket.send(message(client), 67, "255.255.255.255");
}

socket.on("message", (packet) => {
  const client = clients.find(({ xid }) => packet.length > 240 && packet.readUInt32BE(4) === xid);
  if (!client || client.bound) return;
  const kind = optionOf(packet, 53)?.[0];
  if (!packet.subarray(16, 20).equals(client.wish)) {
    throw new Error(`offered ${packet.subarray(16, 20).join(".")}, not ${client.wish.join(".")}`);
  }
  if (kind === 2 && !client.server) {
    client.server = Buffer.from(optionOf(packet, 54) ?? []);
    send(client);
  } else if (kind === 5) {
    client.bound = true;
    if (clients.every(({ bound }) => bound)) process.exit(0);
  }
});
socket.bind(68, () => {
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
