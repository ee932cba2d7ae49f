/**
 * Asks one address for everything our server answers, and its network by multicast:
 * `<server address> <seconds to wait for an answer>`. Prints the names of what came back.
 */

import { createSocket } from "node:dgram";
import { once } from "node:events";
import { get } from "node:http";
import { networkInterfaces } from "node:os";
import { connect } from "node:tls";
import { discoveryGroup, discoveryPort, installService } from "#protocol/discovery.ts";
import { decodePacket, encodePacket } from "../../server/tftp/codec.ts";

const [server = "", seconds = "2"] = process.argv.slice(2);
const patience = () => AbortSignal.timeout(Number(seconds) * 1000);
const own = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ family, internal }) => family === "IPv4" && !internal);

/** The first datagram that comes back. */
async function exchange(bytes: Uint8Array, port: number, address: string): Promise<Buffer> {
  const socket = createSocket("udp4");
  try {
    await new Promise<void>((resolve) => socket.bind(0, own?.address, resolve));
    if (own) socket.setMulticastInterface(own.address);
    socket.send(bytes, port, address);
    const [answer] = (await once(socket, "message", { signal: patience() })) as [Buffer];
    return answer;
  } finally {
    socket.close();
  }
}

async function http(): Promise<string> {
  const request = get(`http://${server}:8080/boot/none`, { signal: patience() });
  const [response] = (await once(request, "response")) as [{ statusCode: number; resume(): void }];
  response.resume();
  return `http ${response.statusCode}`;
}

async function tftp(): Promise<string> {
  const request = { kind: "read", name: "none", mode: "octet", options: [] } as const;
  const packet = decodePacket(await exchange(encodePacket(request), 69, server));
  return packet.kind === "error" && packet.code === 1 ? "tftp not-found" : `tftp ${packet.kind}`;
}

async function agent(): Promise<string> {
  const socket = connect({ host: server, port: 8443, rejectUnauthorized: false });
  try {
    await once(socket, "secureConnect", { signal: patience() });
    return "agent tls";
  } finally {
    socket.destroy();
  }
}

async function discovery(): Promise<string> {
  const question = { Command: "Request-For", Params: installService, Nonce: "00".repeat(16) };
  await exchange(Buffer.from(JSON.stringify(question)), discoveryPort, discoveryGroup);
  return "discovery";
}

/** A DISCOVER as a relay agent of our own subnet would send it: its answer goes to that agent, not to us. */
async function relayed(): Promise<string> {
  const message = Buffer.alloc(244);
  message.set([1, 1, 6, 1]);
  message.set([10, 77, 0, 5], 24); // giaddr
  message.set([0x52, 0x54, 0, 0xa9, 0, 9], 28);
  message.set([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255], 236);
  await exchange(message, 67, server);
  return "dhcp";
}

const answers = await Promise.allSettled([http(), tftp(), agent(), discovery(), relayed()]);
process.stdout.write(
  `${answers.flatMap((one) => (one.status === "fulfilled" ? [one.value] : [])).join(" ")}\n`,
);
