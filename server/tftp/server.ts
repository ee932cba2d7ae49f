/**
 * The TFTP server of one interface: RFC 1350, 2347, 2348, 2349 and 7440, reading only.
 *
 *   client:49152 --RRQ--> server:69        one socket for requests
 *   client:49152 <-DATA-- server:35011     one socket per transfer: its port is
 *   client:49152 --ACK--> server:35011     the server's transfer id (RFC 1350 §4)
 *
 * A name is looked up in the table of boot files and never becomes a path.
 * Write requests are refused. Because anyone can send a request under another's
 * address, a peer gets at most one datagram for one request until it has
 * acknowledged something, and a limited number of transfers.
 */

import { createSocket, type Socket } from "node:dgram";
import { readFileSync } from "node:fs";
import {
  type Ipv4Address,
  type MacAddress,
  milliseconds,
  parseIpv4Address,
} from "#protocol/brand.ts";
import type { BootFiles } from "../boot/file.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import { PacketError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { Log } from "../log.ts";
import { type DatagramSocket, openDatagramSocket, type Sender } from "../net/udp.ts";
import { decodePacket, encodePacket, errorCode, type TftpRequest } from "./codec.ts";
import {
  acknowledgedBytes,
  advance,
  planTransfer,
  type Step,
  startTransfer,
  type Transfer,
  type TransferEvent,
  toNetascii,
} from "./transfer.ts";

/** 128 boards with two files each, and room for the slow ones. */
const maxTransfers = 512;
/** A firmware has one or two at a time; a Raspberry Pi 3 opens a file twice. */
const maxTransfersPerPeer = 8;
/** netascii is for text: a translated copy is made for each transfer. */
const maxNetasciiBytes = 1024 * 1024;
const ethernetMtu = 1500;
/** Names from the wire are cut to this in events and logs. */
const maxNameShown = 200;

export interface TftpContext {
  readonly config: Pick<Config, "tftpPort">;
  readonly interfaceName: string;
  /** Every datagram leaves from this address. */
  readonly address: Ipv4Address;
  readonly files: BootFiles;
  readonly events: Pick<EventBus, "publish">;
  readonly clock: Clock;
  readonly log: Log;
  /** Names the node in events. */
  readonly leases?: { macOf(address: Ipv4Address): MacAddress | undefined };
  readonly openSocket?: typeof openDatagramSocket;
}

export interface TftpServer {
  /** The port requests are heard on. */
  readonly port: number;
  /** Drops the transfers that run. */
  close(): Promise<void>;
}

/** @throws ConfigurationError when the port is taken */
export async function startTftp(context: TftpContext): Promise<TftpServer> {
  const { config, interfaceName, address, log } = context;
  const open = context.openSocket ?? openDatagramSocket;
  const socket = await open({ interface: interfaceName, address, port: config.tftpPort }, log);
  const server = new Requests(context, socket, readMtu(interfaceName));
  socket.onMessage((bytes, from) => server.receive(bytes, from));
  return {
    port: socket.port,
    close: async () => {
      await socket.close();
      await server.close();
    },
  };
}

type Found =
  | { readonly kind: "content"; readonly content: Uint8Array }
  | {
      readonly kind: "refused";
      readonly code: number;
      readonly message: string;
      readonly outcome: "not-found" | "aborted";
    };

/** Hears the well-known port and keeps the transfers that run. */
class Requests {
  readonly #context: TftpContext;
  readonly #socket: DatagramSocket;
  readonly #mtu: number;
  /** By `address:port` of the client. */
  readonly #sessions = new Map<string, Session>();
  #closed = false;

  constructor(context: TftpContext, socket: DatagramSocket, mtu: number) {
    this.#context = context;
    this.#socket = socket;
    this.#mtu = mtu;
  }

  receive(bytes: Uint8Array, from: Sender): void {
    try {
      const packet = decodePacket(bytes);
      if (packet.kind === "write") {
        this.#refuse(from, errorCode.accessViolation, "this server takes no files");
      } else if (packet.kind === "read") {
        this.#read(packet, from);
      } else if (packet.kind !== "error") {
        this.#refuse(from, errorCode.unknownTransfer, "unknown transfer id");
      }
    } catch (error) {
      if (!(error instanceof PacketError)) {
        this.#context.log.error({ err: error, ...from }, "tftp request failed");
        this.#refuse(from, errorCode.undefined, "the server failed");
        return;
      }
      this.#context.log.debug({ err: error, ...from }, "tftp packet dropped");
    }
  }

  #read(request: TftpRequest, from: Sender): void {
    // Whoever boots here has a lease: a forged sender gets nothing back.
    if (this.#context.leases && this.#context.leases.macOf(from.address) === undefined) {
      this.#context.log.debug({ ...from }, "tftp request of an address without a lease dropped");
      return;
    }
    const key = `${from.address}:${from.port}`;
    const running = this.#sessions.get(key);
    if (running?.isAnswering(request)) return; // the request was sent twice; the answer is on its way
    void running?.end();
    if (!this.#hasRoom(from.address)) {
      this.#context.log.warn({ ...from, transfers: this.#sessions.size }, "tftp request dropped");
      return; // silence: a firmware asks again, an error would end its boot
    }
    const found = this.#find(request, from.address);
    if (found.kind === "content") {
      this.#start(key, from, request, found.content);
      return;
    }
    this.#refuse(from, found.code, found.message);
    this.#publish(from.address, request.name, 0, found.outcome);
  }

  #find(request: TftpRequest, address: Ipv4Address): Found {
    const refused = (code: number, message: string, outcome: "not-found" | "aborted") =>
      ({ kind: "refused", code, message, outcome }) as const;
    if (request.mode !== "octet" && request.mode !== "netascii") {
      return refused(errorCode.illegalOperation, `no mode ${shown(request.mode)}`, "aborted");
    }
    const file = this.#context.files.open(request.name, { address, protocol: "tftp" });
    if (!file) return refused(errorCode.fileNotFound, "file not found", "not-found");
    if (request.mode === "octet") return { kind: "content", content: file.bytes() };
    if (file.sizeBytes > maxNetasciiBytes) {
      return refused(errorCode.undefined, "too large for netascii: use octet", "aborted");
    }
    return { kind: "content", content: toNetascii(file.bytes()) };
  }

  #start(key: string, from: Sender, request: TftpRequest, content: Uint8Array): void {
    const { address, clock, log } = this.#context;
    const session = new Session({
      request,
      from,
      first: startTransfer(planTransfer(request, content, this.#mtu)),
      address,
      clock,
      log,
      ended: (transfer) => {
        if (this.#sessions.get(key) === session) this.#sessions.delete(key);
        const bytes = acknowledgedBytes(transfer);
        if (!this.#closed) {
          this.#publish(from.address, request.name, bytes, transfer.outcome ?? "aborted");
        }
      },
    });
    this.#sessions.set(key, session);
    session.start();
  }

  #hasRoom(address: Ipv4Address): boolean {
    if (this.#sessions.size >= maxTransfers) return false;
    let own = 0;
    for (const session of this.#sessions.values()) if (session.peer.address === address) own += 1;
    return own < maxTransfersPerPeer;
  }

  #refuse(to: Sender, code: number, message: string): void {
    this.#socket.send(encodePacket({ kind: "error", code, message }), to.port, to.address);
  }

  #publish(
    address: Ipv4Address,
    name: string,
    bytes: number,
    outcome: "sent" | "not-found" | "aborted",
  ): void {
    const mac = this.#context.leases?.macOf(address);
    this.#context.events.publish({
      topic: "boot-file",
      address,
      ...(mac && { mac }),
      protocol: "tftp",
      name: shown(name),
      bytes,
      outcome,
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    const sessions = [...this.#sessions.values()];
    await Promise.all(sessions.map((session) => session.end()));
  }
}

interface SessionContext {
  readonly request: TftpRequest;
  readonly from: Sender;
  readonly first: Step;
  readonly address: Ipv4Address;
  readonly clock: Clock;
  readonly log: Log;
  /** Called once. */
  readonly ended: (transfer: Transfer) => void;
}

/** One transfer with its own socket and timer; what to send is transfer.ts's to say. */
class Session {
  readonly peer: Sender;
  readonly #context: SessionContext;
  readonly #socket: Socket = createSocket("udp4");
  readonly #ended = new AbortController();
  #transfer: Transfer;
  /** Monotonic time at which the `timeout` event is due. */
  #due = 0;
  #timerRuns = false;

  constructor(context: SessionContext) {
    this.#context = context;
    this.#transfer = context.first.transfer;
    this.peer = context.from;
  }

  /** True while the client may repeat the request only because it has heard nothing yet. */
  isAnswering(request: TftpRequest): boolean {
    const { phase, acknowledged } = this.#transfer;
    const unheard = phase === "negotiating" || (phase === "sending" && acknowledged === 0);
    return unheard && request.name === this.#context.request.name;
  }

  start(): void {
    const { address, log } = this.#context;
    this.#socket.on("error", (error) => {
      log.warn({ err: error, ...this.peer }, "tftp transfer failed");
      void this.end();
    });
    this.#socket.on("message", (bytes, from) => {
      this.#receive(bytes, { address: parseIpv4Address(from.address), port: from.port });
    });
    this.#socket.bind({ address, port: 0, exclusive: true }, () =>
      this.#apply(this.#context.first),
    );
  }

  #receive(bytes: Uint8Array, from: Sender): void {
    if (this.#ended.signal.aborted || from.port === 0) return; // port 0 cannot be answered
    try {
      const packet = decodePacket(bytes);
      if (from.address !== this.peer.address || from.port !== this.peer.port) {
        if (packet.kind !== "error") this.#refuseStranger(from);
        return;
      }
      if (packet.kind === "ack") this.#advance({ kind: "ack", block: packet.block });
      else if (packet.kind === "error") {
        this.#context.log.debug(
          { ...from, code: packet.code },
          "tftp transfer ended by the client",
        );
        this.#advance({ kind: "error" });
      }
    } catch (error) {
      if (!(error instanceof PacketError)) throw error;
      this.#context.log.debug({ err: error, ...from }, "tftp packet dropped");
    }
  }

  /** RFC 1350 §4: a stranger's datagram does not disturb the transfer. */
  #refuseStranger(from: Sender): void {
    const message = "unknown transfer id";
    this.#send(encodePacket({ kind: "error", code: errorCode.unknownTransfer, message }), from);
  }

  #advance(event: TransferEvent): void {
    this.#apply(advance(this.#transfer, event));
  }

  #apply(step: Step): void {
    this.#transfer = step.transfer;
    if (step.transfer.phase === "finished") {
      void this.end();
      return;
    }
    for (const datagram of step.send) this.#send(datagram, this.peer);
    if (step.wait === undefined) return;
    this.#due = this.#context.clock.monotonic() + step.wait;
    if (!this.#timerRuns) void this.#watch();
  }

  /** One timer per transfer: an ACK only moves the time it is due, which costs nothing per block. */
  async #watch(): Promise<void> {
    this.#timerRuns = true;
    const { clock } = this.#context;
    const { signal } = this.#ended;
    while (!signal.aborted) {
      const left = this.#due - clock.monotonic();
      if (left > 0) await clock.sleep(milliseconds(Math.ceil(left)), signal);
      else this.#advance({ kind: "timeout" });
    }
  }

  #send(bytes: Uint8Array, to: Sender): void {
    this.#socket.send(bytes, to.port, to.address, (error) => {
      if (error) this.#context.log.debug({ err: error, ...to }, "tftp datagram not sent");
    });
  }

  end(): Promise<void> {
    if (this.#ended.signal.aborted) return Promise.resolve();
    this.#ended.abort();
    this.#context.ended(this.#transfer);
    return new Promise((resolve) => this.#socket.close(() => resolve()));
  }
}

/** Ethernet's when the kernel does not tell. */
function readMtu(interfaceName: string): number {
  try {
    const mtu = Number(readFileSync(`/sys/class/net/${interfaceName}/mtu`, "utf8"));
    return Number.isInteger(mtu) && mtu >= 68 ? mtu : ethernetMtu; // RFC 791: 68 at least
  } catch {
    return ethernetMtu; // no sysfs, or an interface of another name space
  }
}

function shown(text: string): string {
  return text.length > maxNameShown ? `${text.slice(0, maxNameShown)}…` : text;
}
