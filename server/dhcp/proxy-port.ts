/** Port 4011 of one interface: where PXE firmware asks for its boot file (PXE 2.1 §2.4.5). */

import type { Ipv4Address } from "#protocol/brand.ts";
import { PacketError } from "../errors.ts";
import type { Log } from "../log.ts";
import { openDatagramSocket, type Sender } from "../net/udp.ts";
import { readMessageType } from "./codec/options.ts";
import { decodePacket, encodePacket } from "./codec/packet.ts";
import type { HandlerContext } from "./decision.ts";
import { handleBootRequest } from "./proxy.ts";

export interface ProxyPortContext {
  readonly interfaceName: string;
  readonly address: Ipv4Address;
  readonly port: number;
  readonly handler: HandlerContext;
  readonly log: Log;
  /** The label of the packet counter. */
  readonly onOutcome: (outcome: string) => void;
  readonly openSocket?: typeof openDatagramSocket;
}

export interface ProxyPort {
  readonly port: number;
  close(): Promise<void>;
}

/** @throws ConfigurationError when the port is taken. */
export async function openProxyPort(context: ProxyPortContext): Promise<ProxyPort> {
  const { interfaceName, address, port, log, openSocket = openDatagramSocket } = context;
  const socket = await openSocket({ interface: interfaceName, address, port }, log);
  socket.onMessage((bytes, from) => {
    const { outcome, reply } = answer(bytes, from, context);
    context.onOutcome(outcome);
    if (reply) socket.send(reply, from.port, from.address);
  });
  return { port: socket.port, close: () => socket.close() };
}

/** The only place that catches what a boot request causes. */
function answer(
  bytes: Uint8Array,
  from: Sender,
  { interfaceName, handler, log }: ProxyPortContext,
): { readonly outcome: string; readonly reply?: Uint8Array } {
  try {
    const asked = decodePacket(bytes);
    const decision = handleBootRequest(asked, from.address, handler);
    const fields = { interface: interfaceName, mac: decision.mac, from: from.address };
    if (decision.kind === "silence") {
      log.debug({ ...fields, reason: decision.reason }, "boot request not answered");
      return { outcome: decision.reason };
    }
    const { packet, type, mac } = decision;
    log.info({ ...fields, file: packet.file }, "boot request answered");
    const firmware = handler.recent.get(mac)?.client.firmware;
    handler.events.publish({
      topic: "dhcp",
      mac,
      message: readMessageType(asked.options) === "inform" ? "inform" : "request",
      outcome: type,
      interface: interfaceName,
      address: from.address,
      xid: asked.xid,
      ...(firmware && { firmware }),
      ...(packet.file && { file: packet.file }),
    });
    return { outcome: type, reply: encodePacket(packet) };
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
