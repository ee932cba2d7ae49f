/**
 * First trust: a node proves by its one-time token that it is the one whose
 * outlet was switched on, or an admin vouches for it, and gets its certificate.
 *
 * Everything that contradicts what is known holds the node back (quarantine)
 * and raises an alarm; its key is not registered.
 */

import { type EnrolAnswer, enrolText } from "#protocol/agent.ts";
import { type Ipv4Address, type MacAddress, parseMacAddress } from "#protocol/brand.ts";
import type { Node } from "#protocol/node.ts";
import { createAudit } from "../audit/audit.ts";
import { TokenRefusedError } from "../enrol/token.ts";
import { EnrolmentRefusedError, InvalidInputError } from "../errors.ts";
import type { AgentListenerContext } from "./listener.ts";
import type { EnrolBody } from "./schemas.ts";

/** @throws EnrolmentRefusedError, InvalidInputError */
export type Enrol = (request: EnrolBody, from: Ipv4Address) => Promise<EnrolAnswer>;

export function createEnrolment(
  context: Pick<
    AgentListenerContext,
    "site" | "nodes" | "windows" | "store" | "events" | "clock" | "log"
  >,
): Enrol {
  const { site, nodes, windows, store, events, log } = context;
  const audit = createAudit(context);

  function refused(mac: MacAddress, error: EnrolmentRefusedError): void {
    const reason = error.message;
    events.publish({ topic: "enrolment", mac, outcome: "refused", reason });
    log.warn({ mac, reason }, "enrolment refused");
    if (!(error instanceof TokenRefusedError)) return;
    audit.append("server", "enrolment refused", mac, reason);
    events.publish({ topic: "alarm", text: `enrolment refused: ${reason}` });
    const held = error.holds && nodes.byMac(error.holds);
    if (held && !held.quarantined) nodes.quarantine(held.id, reason);
  }

  /**
   * What speaks against the node. It is held only when the request carried a token of its own:
   * else anyone on the wire could have every node held.
   */
  function checkRecord(
    node: Node,
    { hardware, token }: Pick<EnrolBody, "hardware" | "token">,
    from: Ipv4Address,
  ): void {
    const holds = windows.isTokenOf(node.mac, token) ? node.mac : undefined;
    if (node.quarantined) {
      throw new EnrolmentRefusedError(
        `node ${node.mac} is held back until an admin approves it: ${node.reason ?? "no reason"}`,
      );
    }
    const serial = node.hardware?.serial;
    if (serial !== undefined && hardware.serial !== undefined && serial !== hardware.serial) {
      throw new TokenRefusedError(
        `node ${node.mac} says serial ${hardware.serial}, recorded is ${serial}`,
        holds,
      );
    }
    const reserved = store.reservations.byMac(node.mac)?.address;
    if (reserved !== undefined && reserved !== from) {
      throw new TokenRefusedError(
        `enrolment of ${node.mac} came from ${from}, its address is ${reserved}`,
        holds,
      );
    }
  }

  async function accept(request: EnrolBody, mac: MacAddress, from: Ipv4Address) {
    const { publicKey, token, hardware, architecture } = request;
    const node = nodes.byMac(mac) ?? nodes.heard({ mac, ipxe: false, architectures: [] }, from);
    const right = { token, holder: publicKey };
    checkRecord(node, request, from);
    windows.check(mac, right);
    const { pem, fingerprint } = await site.issueNodeCertificate(node.id, publicKey);
    // One commit: the token is used and the node enrolled, or neither.
    store.transaction(() => {
      windows.burn(mac, right);
      nodes.enrolled(node.id, { certificate: fingerprint, hardware, architecture });
      audit.append(`node:${node.id}`, "node enrolled", node.id, `certificate ${fingerprint}`);
    });
    return { nodeId: node.id, certificate: pem, nonce: request.nonce };
  }

  return async (request, from) => {
    const mac = parseMac(request.mac);
    try {
      const answer = await accept(request, mac, from);
      events.publish({ topic: "enrolment", mac, outcome: "accepted" });
      log.info({ mac, node: answer.nodeId, from }, "node enrolled");
      return { ...answer, signature: site.sign(enrolText(answer)) };
    } catch (error) {
      if (error instanceof EnrolmentRefusedError) refused(mac, error);
      throw error;
    }
  };
}

function parseMac(text: string): MacAddress {
  try {
    return parseMacAddress(text);
  } catch (cause) {
    throw new InvalidInputError(
      `not a hardware address: ${JSON.stringify(text)}`,
      [{ pointer: "/mac", detail: "six hexadecimal octets" }],
      { cause },
    );
  }
}
