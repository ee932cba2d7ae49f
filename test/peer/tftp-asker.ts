/**
 * Sends TFTP requests of all sorts, one after the other, and says as JSON which of
 * them were answered: the last one always is, so that there is something to wait for.
 *
 *   node tftp-asker.ts '[{"from":["10.77.0.2",4000],"to":"10.77.0.1"}]'
 */

import { createSocket } from "node:dgram";
import { encodePacket } from "../../server/tftp/codec.ts";

interface Question {
  readonly from: readonly [address: string, port: number];
  readonly to: string;
}

const questions = JSON.parse(process.argv[2] ?? "[]") as readonly Question[];
const request = encodePacket({ kind: "read", name: "nothing", mode: "octet", options: [] });
const answered: number[] = [];
for (const [index, { from, to }] of questions.entries()) {
  const [address, port] = from;
  const socket = createSocket({ type: "udp4", reuseAddr: true });
  await new Promise<void>((resolve) => socket.bind(port, address, resolve));
  socket.setBroadcast(true);
  const heard = new Promise<void>((resolve) =>
    socket.once("message", () => {
      answered.push(index);
      resolve();
    }),
  );
  await new Promise((resolve) => socket.send(request, 69, to, resolve));
  if (index < questions.length - 1) continue;
  await heard;
  process.stdout.write(JSON.stringify(answered));
  process.exit();
}
