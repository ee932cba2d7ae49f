/**
 * One known node that boots again and again, a process of its own inside the clients'
 * namespace: DISCOVER, OFFER, REQUEST, ACK, then a file by TFTP in blocks of 1468
 * octets. Its timers are a PXE ROM's: DHCP again after 4, 8, 16 s, TFTP after 1 s.
 *
 *   node boots.ts <client address> <server> <file> <octets> <seconds>
 *
 * Prints the boots' milliseconds as JSON; one that is not done when the time is up
 * counts with the time it has taken so far.
 */

import { createSocket, type Socket } from "node:dgram";
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

const [addressText = "", server = "", file = "", octets = "", secondsText = ""] =
  process.argv.slice(2);
const address = addressOctets(addressNumber(addressText));
const size = Number(octets);
const blksize = 1468;
const tftpRepeatMs = 1000;
const dhcpRepeatsMs = [4000, 8000, 16_000, 32_000];

const begun = performance.now();
const deadline = begun + Number(secondsText) * 1000;
const boots: number[] = [];
let bootedAt = begun;
let xid = 0x6d700000;

function bind(port: number, at?: string): Promise<Socket> {
  const socket = createSocket({ type: "udp4", reuseAddr: true });
  return new Promise((resolve) => socket.bind(port, at, () => resolve(socket)));
}

/** Sends until `take` says it is enough; waits `waits[n]` (the last one again) before each repeat. */
function converse(
  socket: Socket,
  send: () => void,
  waits: readonly number[],
  take: (packet: Buffer, port: number) => "done" | "progress" | undefined,
): Promise<void> {
  return new Promise((resolve) => {
    let tries = 0;
    let timer: NodeJS.Timeout | undefined;
    const arm = () => {
      clearTimeout(timer);
      timer = setTimeout(again, waits[Math.min(tries, waits.length - 1)]);
    };
    const again = () => {
      send();
      arm();
      tries += 1;
    };
    const hear = (packet: Buffer, from: { readonly port: number }) => {
      const heard = take(packet, from.port);
      if (heard === "progress") {
        tries = 0;
        arm();
      }
      if (heard !== "done") return;
      clearTimeout(timer);
      socket.off("message", hear);
      resolve();
    };
    socket.on("message", hear);
    again();
  });
}

async function lease(socket: Socket): Promise<void> {
  xid += 1;
  const message = (type: number, other: { readonly server?: Uint8Array }) =>
    romMessage({ type, mac: macOf(address), xid, broadcast: true, wish: address, ...other });
  let identifier: Uint8Array | undefined;
  for (const [ask, want] of [
    [messageType.discover, messageType.offer],
    [messageType.request, messageType.ack],
  ] as const) {
    const other = ask === messageType.request && identifier ? { server: identifier } : {};
    await converse(
      socket,
      () => socket.send(message(ask, other), serverPort, "255.255.255.255"),
      dhcpRepeatsMs,
      (packet) => {
        const answer = readAnswer(packet);
        if (answer?.xid !== xid || answer.type !== want) return undefined;
        identifier = answer.server;
        return "done";
      },
    );
  }
}

async function fetchFile(): Promise<void> {
  const socket = await bind(0, addressText);
  const words = [file, "octet", "tsize", "0", "blksize", String(blksize)];
  let last = Buffer.concat([Buffer.from([0, 1]), Buffer.from(`${words.join("\0")}\0`)]);
  let to = 69;
  let blocks = 0;
  let received = 0;
  const send = () => socket.send(last, to, server);
  await converse(socket, send, [tftpRepeatMs], (packet, port) => {
    const kind = packet.readUInt16BE(0);
    if (kind === 5) throw new Error(`server: ${packet.toString("latin1", 4)}`);
    if (kind === 3 && packet.readUInt16BE(2) !== ((blocks + 1) & 0xffff)) return undefined;
    if (kind === 6 && blocks > 0) return undefined;
    to = port;
    if (kind === 3) {
      blocks += 1;
      received += packet.length - 4;
    }
    last = Buffer.from([0, 4, (blocks >> 8) & 0xff, blocks & 0xff]);
    send();
    return kind === 3 && packet.length - 4 < blksize ? "done" : "progress";
  });
  socket.close();
  if (received !== size) throw new Error(`${received} octets, not ${size}`);
}

setTimeout(() => {
  boots.push(performance.now() - bootedAt);
  process.stdout.write(`${JSON.stringify(boots)}\n`, () => process.exit(0));
}, deadline - performance.now());
const socket = await bind(clientPort);
socket.setBroadcast(true);
for (;;) {
  bootedAt = performance.now();
  await lease(socket);
  await fetchFile();
  boots.push(performance.now() - bootedAt);
}
