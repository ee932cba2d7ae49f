/**
 * Requests of TFTP peers nobody knows, as a forger would send them for others: each
 * from an address of its own, asked once, never acknowledged. Counts what comes back,
 * with IPv4 and UDP headers. A process of its own inside the clients' namespace.
 *
 *   node amplification-load.ts '<AmplificationLoad as JSON>'     prints one AmplificationResult as JSON
 */

import { addressNumber } from "./dhcp-messages.ts";
import { openBatchSocket, waitForDatagrams } from "./mmsg.ts";

export interface AmplificationLoad {
  readonly server: string;
  readonly firstClient: string;
  readonly clients: number;
  /** The words of a read request after its opcode, without the zeros. */
  readonly words: readonly string[];
  readonly seconds: number;
}

export interface AmplificationResult {
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly datagramsReceived: number;
}

const headers = 28; // 20 (IPv4) + 8 (UDP)
const [argument] = process.argv.slice(2);
if (argument === undefined) throw new Error("no load named");
const load = JSON.parse(argument) as AmplificationLoad;
const socket = openBatchSocket({
  port: 0,
  slots: 64,
  slotSize: 2048,
  bufferBytes: 8 * 1024 * 1024,
});
const request = Buffer.concat([Buffer.from([0, 1]), Buffer.from(`${load.words.join("\0")}\0`)]);
for (let index = 0; index < load.clients; index++) {
  socket.send(request, addressNumber(load.firstClient) + index, addressNumber(load.server), 69);
}
socket.flush();
let bytesReceived = 0;
let datagramsReceived = 0;
const deadline = performance.now() + load.seconds * 1000;
while (performance.now() < deadline) {
  waitForDatagrams([socket], 50);
  const count = socket.receive();
  datagramsReceived += count;
  for (let index = 0; index < count; index++) bytesReceived += socket.lengthOf(index) + headers;
}
const result: AmplificationResult = {
  bytesSent: load.clients * (request.length + headers),
  bytesReceived,
  datagramsReceived,
};
process.stdout.write(`${JSON.stringify(result)}\n`);
