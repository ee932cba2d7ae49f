/**
 * Strangers on one segment: `<interface> <first number> <addresses> <answers> <key id>`. To every
 * question heard they send so many answers in all, from addresses 10.77.x.y in turn: half signed by
 * keys of their own, half under the given key's name. Prints `listening`, then the count of each salvo.
 */

import { createSocket } from "node:dgram";
import { once } from "node:events";
import {
  type DiscoveryQuestion,
  discoveryGroup,
  discoveryPort,
  signedText,
} from "#protocol/discovery.ts";
import { makeKey } from "../netinst/support.ts";

const [name = "", first = "", count = "", answers = "", key = ""] = process.argv.slice(2);
const sockets = await Promise.all(
  Array.from({ length: Number(count) }, async (_, index) => {
    const number = Number(first) + index;
    const address = `10.77.${number >> 8}.${number & 255}`;
    const socket = createSocket("udp4");
    socket.bind(0, address);
    await once(socket, "listening");
    return { socket, address };
  }),
);
const keys = Array.from({ length: 16 }, makeKey);

const ear = createSocket({ type: "udp4", reuseAddr: true });
ear.bind(discoveryPort, discoveryGroup);
await once(ear, "listening");
const own = sockets[0]?.address ?? "";
ear.addMembership(discoveryGroup, own);

ear.on("message", (bytes, from) => {
  const question = JSON.parse(bytes.toString()) as DiscoveryQuestion;
  for (let index = 0; index < Number(answers); index++) {
    const { socket, address } = sockets[index % sockets.length] as (typeof sockets)[number];
    const said = {
      Address: address,
      Params: {
        url: `https://${address}:8443`,
        bootUrl: `http://${address}:8080`,
        hostname: `rogue-${index}`,
        authority: "-----BEGIN CERTIFICATE-----\n".padEnd(700, "A"),
      },
    };
    const by = keys[index % keys.length] as (typeof keys)[number];
    // Signing each would only slow the stranger down: what is checked is the same.
    const Signature = index < keys.length ? by.sign(signedText(question, said)) : "A".repeat(88);
    const answer = {
      ...said,
      Command: "OK",
      Nonce: question.Nonce,
      Key: index % 2 === 0 ? key : by.id,
      Signature,
    };
    socket.send(JSON.stringify(answer), from.port, from.address);
  }
  process.stdout.write(`salvo of ${answers}\n`);
});
process.stdout.write(`listening on ${name}\n`);
