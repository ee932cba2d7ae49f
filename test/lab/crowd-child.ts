/**
 * So many nodes of a site in one process, each with a key, a certificate and an address of its
 * own: `<keys directory> <interface> <first number> <count>`. Prints `listening`.
 */

import { generateKeyPairSync } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { milliseconds, type NodeId } from "#protocol/brand.ts";
import { discoveryGroup, discoveryPort } from "#protocol/discovery.ts";
import { signerBy } from "../../netinst/polo.ts";
import { answerDelay } from "../../server/discovery/shared/listen.ts";
import { createResponder } from "../../server/discovery/shared/responder.ts";
import { openSite } from "../../server/enrol/authority.ts";

const [keys = "", name = "", first = "", count = ""] = process.argv.slice(2);
const site = await openSite(keys);
const nodes = await Promise.all(
  Array.from({ length: Number(count) }, async (_, index) => {
    const number = Number(first) + index;
    const address = `10.77.${number >> 8}.${number & 255}`;
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    const { pem: certificate } = await site.issueNodeCertificate(
      `node_${index}` as NodeId,
      publicKey.export({ type: "spki", format: "pem" }).toString(),
    );
    const key = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    const signer = signerBy({ key, certificate });
    const responder = createResponder({
      signer: () => signer,
      host: () => ({ hostname: `n${index}`, role: "node" }),
      services: () => [],
    });
    const socket = createSocket("udp4");
    socket.bind(0, address);
    await once(socket, "listening");
    return { address, responder, socket };
  }),
);

const ear = createSocket({ type: "udp4", reuseAddr: true });
ear.bind(discoveryPort, discoveryGroup);
await once(ear, "listening");
ear.addMembership(discoveryGroup, nodes[0]?.address ?? "");
ear.on("message", (bytes, from) => {
  for (const { address, responder, socket } of nodes) {
    const heard = { bytes, from: from.address, isNear: true, address, group: discoveryGroup };
    const { answer, within } = responder.hear(heard, milliseconds(performance.now()));
    const send = () => answer && socket.send(answer, from.port, from.address);
    setTimeout(send, answerDelay(within));
  }
});
process.stdout.write(`listening on ${name}\n`);
