/** Port 4011 of one interface: where PXE firmware asks for its boot file (PXE 2.1 §2.4.5). */

import type { Ipv4Address } from "#protocol/brand.ts";
import { createTokenBuckets } from "#protocol/token-bucket.ts";
import type { Clock } from "../clock.ts";
import { PacketError } from "../errors.ts";
import type { Log } from "../log.ts";
import { openDatagramSocket, type Sender } from "../net/udp.ts";
import { readMessageType } from "./codec/options.ts";
import { type DhcpPacket, decodePacket, encodePacket } from "./codec/packet.ts";
import type { Decision, HandlerContext } from "./decision.ts";
import { handleBootRequest } from "./proxy.ts";

export interface ProxyPortContext {
  readonly interfaceName: string;
  readonly address: Ipv4Address;
  readonly port: number;
  readonly handler: HandlerContext;
  readonly clock: Pick<Clock, "monotonic">;
  readonly log: Log;
  /** The label of the packet counter. */
  readonly onOutcome: (outcome: string) => void;
  readonly openSocket?: typeof openDatagramSocket;
}

/** What the log and the journal hear of: a rack that boots at once, then little. */
const told = { burst: 512, perSecond: 20, sources: 1 } as const;

export interface ProxyPort {
  readonly port: number;
  close(): Promise<void>;
}

/** @throws ConfigurationError when the port is taken. */
export async function openProxyPort(context: ProxyPortContext): Promise<ProxyPort> {
  const { interfaceName, address, port, log, openSocket = openDatagramSocket } = context;
  const socket = await openSocket({ interface: interfaceName, address, port }, log);
  const budget = createTokenBuckets(told);
  const isTold = () => budget.take("", context.clock.monotonic());
  socket.onMessage((bytes, from) => {
    const { outcome, reply } = answer(bytes, from, context, isTold);
    context.onOutcome(outcome);
    if (reply) socket.send(reply, from.port, from.address);
  });
  return { port: socket.port, close: () => socket.close() };
}

/** The only place that catches what a boot request causes. */
function answer(
  bytes: Uint8Array,
  from: Sender,
  context: ProxyPortContext,
  isTold: () => boolean,
): { readonly outcome: string; readonly reply?: Uint8Array } {
  const { interfaceName, handler, log } = context;
  try {
    const asked = decodePacket(bytes);
    const decision = handleBootRequest(asked, from.address, handler);
    if (decision.kind === "silence") return { outcome: decision.reason };
    if (isTold()) tell(asked, decision, from, context);
    return { outcome: decision.type, reply: encodePacket(decision.packet) };
  } catch (error) {
    const fields = { err: error, interface: interfaceName, from: from.address };
    if (error instanceof PacketError) {
      log.debug(fields, "boot request dropped");
      return { outcome: "malformed" };
    }
    log.error(fields, "boot request failed");
    return { outcome: "failed" };
  }
}

function tell(
  asked: DhcpPacket,
  { packet, type, mac }: Extract<Decision, { kind: "reply" }>,
  from: Sender,
  { interfaceName, handler, log }: ProxyPortContext,
): void {
  const { address } = from;
  log.info({ interface: interfaceName, mac, address, file: packet.file }, "boot request answered");
  const firmware = handler.recent.get(mac)?.client.firmware;
  handler.events.publish({
    topic: "dhcp",
    mac,
    message: readMessageType(asked.options) === "inform" ? "inform" : "request",
    outcome: type,
    interface: interfaceName,
    address,
    xid: asked.xid,
    ...(firmware && { firmware }),
    ...(packet.file && { file: packet.file }),
  });
}
