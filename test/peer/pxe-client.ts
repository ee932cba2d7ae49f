/**
 * A PXE client that takes its address from one server and its boot file from
 * another, on lan0 of the namespace it runs in. Prints one line of JSON.
 *
 *   node pxe-client.ts <mac>
 */

import { execFileSync } from "node:child_process";
import { type Ipv4Address, parseIpv4Address } from "#protocol/brand.ts";
import { option, readMessageType, readOption } from "../../server/dhcp/codec/options.ts";
import { type DhcpPacket, decodePacket, encodePacket } from "../../server/dhcp/codec/packet.ts";
import { silentLog } from "../../server/log.ts";
import { openDatagramSocket } from "../../server/net/udp.ts";
import { fixture } from "../support/dhcp.ts";

const everyone = "255.255.255.255";
const chaddr = new Uint8Array(16);
chaddr.set(Uint8Array.fromHex((process.argv[2] ?? "").replaceAll(":", "")));

const socket = await openDatagramSocket(
  { interface: "lan0", port: 68, broadcast: true, reuse: true },
  silentLog,
);
const heard: DhcpPacket[] = [];
let wake = () => {};
socket.onMessage((bytes) => {
  const packet = decodePacket(bytes);
  if (packet.operation !== "reply" || packet.chaddr.toHex() !== chaddr.toHex()) return;
  heard.push(packet);
  wake();
});

/** Sends until every one of `wanted` has been heard. @throws Error after 15 tries */
async function ask(
  packet: DhcpPacket,
  to: { readonly address: string; readonly port: number },
  wanted: readonly ((reply: DhcpPacket) => boolean)[],
): Promise<readonly DhcpPacket[]> {
  for (let tries = 0; tries < 15; tries++) {
    socket.send(encodePacket(packet), to.port, to.address);
    const found = await within(1000, () => {
      const replies = wanted.map((one) => heard.find(one));
      return replies.every((one) => one !== undefined) ? replies : undefined;
    });
    if (found) return found;
  }
  throw new Error("no answer");
}

async function within<T>(ms: number, look: () => T | undefined): Promise<T | undefined> {
  const end = performance.now() + ms;
  for (;;) {
    const found = look();
    const left = end - performance.now();
    if (found !== undefined || left <= 0) return found;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, left);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

const type = (reply: DhcpPacket) => readMessageType(reply.options);
const hasAddress = (reply: DhcpPacket) => reply.yiaddr !== "0.0.0.0";
const discover = { ...fixture("ovmf-x64-pxe", "DISCOVER"), chaddr };
const [offer, bootOffer] = await ask(discover, { address: everyone, port: 67 }, [
  (reply) => type(reply) === "offer" && hasAddress(reply),
  (reply) => type(reply) === "offer" && !hasAddress(reply),
]);
if (!offer || !bootOffer) throw new Error("no offer");
const serverOf = (reply: DhcpPacket): Ipv4Address =>
  readOption(reply.options, "serverIdentifier") ?? parseIpv4Address("0.0.0.0");

const request: DhcpPacket = {
  ...fixture("ovmf-x64-pxe", "REQUEST"),
  chaddr,
  options: new Map([
    ...fixture("ovmf-x64-pxe", "REQUEST").options,
    option("requestedAddress", offer.yiaddr),
    option("serverIdentifier", serverOf(offer)),
  ]),
};
await ask(request, { address: everyone, port: 67 }, [(reply) => type(reply) === "ack"]);
execFileSync("ip", ["address", "add", `${offer.yiaddr}/24`, "dev", "lan0"]);
heard.splice(0);

const bootOptions = [...request.options].filter(([code]) => code !== 50 && code !== 54);
const bootRequest = { ...request, ciaddr: offer.yiaddr, options: new Map(bootOptions) };
const [ack] = await ask(bootRequest, { address: serverOf(bootOffer), port: 4011 }, [
  (reply) => type(reply) === "ack",
]);
if (!ack) throw new Error("no acknowledgement");
process.stdout.write(
  `${JSON.stringify({
    address: offer.yiaddr,
    addressServer: serverOf(offer),
    bootServer: serverOf(bootOffer),
    offeredFile: bootOffer.file,
    offeredClass: readOption(bootOffer.options, "vendorClass"),
    acknowledgedFile: ack.file,
    acknowledgedAddress: ack.yiaddr,
  })}\n`,
);
await socket.close();
