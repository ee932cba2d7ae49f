/**
 * Asks a TFTP server for one name after the other and says as JSON what came: `data`, with the
 * whole file acknowledged, the number of the error, or `silence` for a second.
 *
 *   node tftp-names-asker.ts <address> '[{"opcode":1,"name":"../etc/passwd"}]'
 */

import { createSocket } from "node:dgram";
import { once } from "node:events";

const patienceMs = 1000;

const [server = "", questions = "[]"] = process.argv.slice(2);
const opcodes = { data: 3, ack: 4, error: 5 } as const;
const answers: (string | number)[] = [];

for (const { opcode, name } of JSON.parse(questions) as { opcode: number; name: string }[]) {
  const socket = createSocket("udp4");
  const request = Buffer.concat([Buffer.from([0, opcode]), Buffer.from(`${name}\0octet\0`)]);
  socket.send(request, 69, server);
  for (;;) {
    const heard = await once(socket, "message", { signal: AbortSignal.timeout(patienceMs) }).catch(
      () => undefined,
    );
    if (heard === undefined) {
      answers.push("silence");
      break;
    }
    const [message, from] = heard as [Buffer, { port: number }];
    if (message.readUInt16BE(0) === opcodes.error) {
      answers.push(message.readUInt16BE(2));
      break;
    }
    const ack = Buffer.from([0, opcodes.ack, message.readUInt8(2), message.readUInt8(3)]);
    await new Promise((resolve) => socket.send(ack, from.port, server, resolve));
    if (message.length < 516) {
      answers.push("data");
      break;
    }
  }
  socket.close();
}
process.stdout.write(JSON.stringify(answers));
