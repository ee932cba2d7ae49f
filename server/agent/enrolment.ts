/**
 * First trust: a node proves by its one-time token that it is the one whose
 * outlet was switched on, or an admin vouches for its key, and gets its certificate.
 *
 * Everything that contradicts what is known holds the node back (quarantine)
 * and raises an alarm; its key is not registered. Whoever knows no token of the
 * node can hold nobody, and is told of at a bounded rate.
 */

import { type EnrolAnswer, enrolText } from "#protocol/agent.ts";
import { type Ipv4Address, type MacAddress, parseMacAddress } from "#protocol/brand.ts";
import type { Node } from "#protocol/node.ts";
import { createTokenBuckets } from "#protocol/token-bucket.ts";
import { createAudit } from "../audit/audit.ts";
import { withAsk } from "../enrol/asks.ts";
import { codeOfKey } from "../enrol/keys.ts";
import { TokenRefusedError } from "../enrol/token.ts";
import { EnrolmentRefusedError, InvalidInputError } from "../errors.ts";
import { endOf } from "./credentials.ts";
import type { AgentListenerContext } from "./listener.ts";
import type { EnrolBody } from "./schemas.ts";

/** @throws EnrolmentRefusedError, InvalidInputError */
export type Enrol = (request: EnrolBody, from: Ipv4Address) => Promise<EnrolAnswer>;

/** Refusals that are told of (audit, alarm), per MAC address and of all: a flood must not fill the journal. */
const toldOfNode = { burst: 3, perSecond: 1 / 600, sources: 4096 };
const toldOfAll = { burst: 100, perSecond: 1 / 10, sources: 1 };

interface Refusal {
  readonly mac: MacAddress;
  readonly code: string;
  readonly from: Ipv4Address;
  readonly error: EnrolmentRefusedError;
}

export function createEnrolment(
  context: Pick<
    AgentListenerContext,
    "config" | "site" | "nodes" | "windows" | "store" | "leases" | "events" | "clock" | "log"
  >,
): Enrol {
  const { config, site, nodes, windows, store, leases, events, clock, log } = context;
  const audit = createAudit(context);
  const leftOfNode = createTokenBuckets(toldOfNode);
  const leftOfAll = createTokenBuckets(toldOfAll);
  let untold = 0;

  function refused({ mac, code, from, error }: Refusal): void {
    const held = error instanceof TokenRefusedError && error.holds && nodes.byMac(error.holds);
    const isNews = held !== undefined && held !== false && !held.quarantined;
    const now = clock.monotonic();
    events.publish({ topic: "enrolment", mac, outcome: "refused", reason: error.message });
    const isTold = isNews || (leftOfNode.take(mac, now) && leftOfAll.take("all", now));
    store.transaction(() => {
      if (isNews) nodes.quarantine(held.id, error.message);
      if (isTold) tell({ mac, code, from, error });
      else untold += 1;
      const node = nodes.byMac(mac) ?? (isTold ? discover(mac, from) : undefined);
      const isAlarm = isTold && !(error instanceof TokenRefusedError);
      if (node) noteAsk(node, code, from, isAlarm);
    });
  }

  function tell({ mac, from, error }: Refusal): void {
    const reason = error.message;
    log.warn({ mac, from, reason, untold }, "enrolment refused");
    if (!(error instanceof TokenRefusedError)) return;
    const more = untold > 0 ? ` (and ${untold} refusals before that were not told)` : "";
    untold = 0;
    audit.append("server", "enrolment refused", mac, `${reason}${more}`);
    events.publish({ topic: "alarm", text: `enrolment refused: ${reason}${more}` });
  }

  /** So that an admin sees whose key to approve. */
  function noteAsk(node: Node, code: string, address: Ipv4Address, isAlarm: boolean): void {
    const change = withAsk(node, { code, address, at: clock.now() });
    if (!change) return;
    nodes.update(node.id, { asks: change.asks });
    if (!change.isNew || !isAlarm || isAtWork(node)) return;
    const text = `${node.name} (${node.mac}) asks to enrol from ${address}: approve it if its screen shows code ${code}`;
    events.publish({ topic: "alarm", text });
  }

  /** It lost its power in the middle of a task, which goes on with a token of its own. */
  const isAtWork = ({ id }: Node): boolean =>
    store.tasks.unfinishedOf(id).some(({ state }) => state === "running");

  const discover = (mac: MacAddress, from: Ipv4Address): Node =>
    nodes.heard({ mac, ipxe: false, architectures: [] }, from);

  /**
   * What speaks against the node. It is held only when the request carried a token of its own:
   * else anyone on the wire could have every node held.
   */
  function checkRecord(
    mac: MacAddress,
    { hardware, token }: Pick<EnrolBody, "hardware" | "token">,
    from: Ipv4Address,
  ): void {
    const node = nodes.byMac(mac);
    const holds = windows.isTokenOf(mac, token) ? mac : undefined;
    if (node?.quarantined) {
      throw new EnrolmentRefusedError(
        `node ${mac} is held back until an admin approves it: ${node.reason ?? "no reason"}`,
      );
    }
    const serial = node?.hardware?.serial;
    if (serial !== undefined && hardware.serial !== undefined && serial !== hardware.serial) {
      throw new TokenRefusedError(
        `node ${mac} says serial ${hardware.serial}, recorded is ${serial}`,
        holds,
      );
    }
    const reserved = store.reservations.byMac(mac)?.address;
    if (reserved !== undefined && reserved !== from) {
      throw new TokenRefusedError(
        `enrolment of ${mac} came from ${from}, its address is ${reserved}`,
        holds,
      );
    }
    const owner = leases?.macOf(from);
    if (owner !== undefined && owner !== mac) {
      throw new TokenRefusedError(
        `enrolment of ${mac} came from ${from}, which ${owner} has`,
        holds,
      );
    }
  }

  async function accept(request: EnrolBody, mac: MacAddress, from: Ipv4Address) {
    const { publicKey, token, hardware, architecture } = request;
    const right = { token, holder: publicKey };
    // First without a change, so that a guess costs neither a record nor a certificate.
    checkRecord(mac, request, from);
    windows.check(mac, right);
    const { id } = nodes.byMac(mac) ?? discover(mac, from);
    const { pem, fingerprint } = await site.issueNodeCertificate(id, publicKey);
    // One commit: the token is used and the node enrolled, or neither.
    store.transaction(() => {
      checkRecord(mac, request, from);
      windows.burn(mac, right);
      const certificateUntil = endOf(config, clock.now());
      const byToken = token !== undefined;
      const facts = { certificate: fingerprint, certificateUntil, hardware, architecture, byToken };
      nodes.enrolled(id, facts);
      audit.append(`node:${id}`, "node enrolled", id, `certificate ${fingerprint}`);
    });
    return { nodeId: id, certificate: pem, nonce: request.nonce };
  }

  return async (request, from) => {
    const mac = parseMac(request.mac);
    const code = codeOfKey(request.publicKey);
    try {
      const answer = await accept(request, mac, from);
      events.publish({ topic: "enrolment", mac, outcome: "accepted" });
      log.info({ mac, node: answer.nodeId, from }, "node enrolled");
      return { ...answer, signature: site.sign(enrolText(answer)) };
    } catch (error) {
      if (error instanceof EnrolmentRefusedError) refused({ mac, code, from, error });
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
