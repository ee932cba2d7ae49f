/**
 * A network in memory with one server on it: DHCP by a function of the test, TFTP
 * from a map. Time goes on only while the boards wait, so a boot of minutes is
 * over at once.
 */

import { ipv4FromNumber, ipv4ToNumber, type Milliseconds } from "#protocol/brand.ts";
import { messageTypes, option, readOption } from "../../server/dhcp/codec/options.ts";
import {
  type DhcpPacket,
  decodePacket as decodeDhcp,
  encodePacket as encodeDhcp,
} from "../../server/dhcp/codec/packet.ts";
import { firmwareNamed } from "../../server/sim/firmware/registry.ts";
import {
  type ArpFrame,
  decodeFrame,
  encodeArp,
  encodeUdp,
  type UdpFrame,
} from "../../server/sim/frame.ts";
import type { FrameSocket } from "../../server/sim/packet-socket.ts";
import {
  type SimulationResult,
  type SimulationSettings,
  simulate,
} from "../../server/sim/simulation.ts";
import {
  decodePacket as decodeTftp,
  encodePacket as encodeTftp,
  type TftpOptions,
  type TftpPacket,
} from "../../server/tftp/codec.ts";

const serverAddress = 0x0a4d_0001; // 10.77.0.1
const serverMac = Uint8Array.of(2, 0, 0, 0, 0, 1);

/** What the server says to one DHCP message; undefined: nothing. */
export interface Answer {
  readonly type: keyof typeof messageTypes;
  readonly address?: string;
  readonly file?: string;
  readonly hops?: number;
  readonly options?: readonly (readonly [number, Uint8Array])[];
  /** Sent to every board, as a server does that cannot reach a client without an address. */
  readonly broadcast?: boolean;
}

export interface FakeServer {
  readonly dhcp: (asked: DhcpPacket, port: number) => Answer | undefined;
  readonly files?: Readonly<Record<string, Uint8Array>>;
  /** Instead of `files`: asked at each request. */
  readonly open?: (name: string) => Uint8Array | undefined;
  /** Options it grants; absent: blksize, tsize and windowsize as asked. */
  readonly grants?: readonly string[];
  /** True: this datagram of the server is lost. Counted from 0 over all of a run. */
  readonly loses?: (index: number, packet: TftpPacket) => boolean;
}

/** What the boards sent, in order. */
export interface Heard {
  readonly atMs: number;
  readonly frame: Uint8Array;
  readonly ip?: UdpFrame;
  readonly arp?: ArpFrame;
  readonly dhcp?: DhcpPacket;
  readonly tftp?: TftpPacket;
}

interface Transfer {
  readonly content: Uint8Array;
  readonly blockSize: number;
  readonly windowSize: number;
}

export class FakeNetwork implements FrameSocket {
  readonly heard: Heard[] = [];
  now = 0;
  readonly #server: FakeServer;
  readonly #waiting: Uint8Array[] = [];
  readonly #transfers = new Map<string, Transfer>();
  #sent = 0;

  constructor(server: FakeServer) {
    this.#server = server;
  }

  receive(take: (frame: Uint8Array) => void): number {
    const frames = this.#waiting.splice(0);
    for (const frame of frames) take(frame);
    return frames.length;
  }

  send(frame: Uint8Array): void {
    const decoded = decodeFrame(frame);
    const common = { atMs: this.now, frame };
    if (decoded?.kind === "arp") {
      this.heard.push({ ...common, arp: decoded });
      if (decoded.isRequest && decoded.target === serverAddress) this.#answerArp(decoded);
    } else if (decoded?.kind === "udp" && [67, 4011].includes(decoded.destinationPort)) {
      const dhcp = decodeDhcp(decoded.payload);
      this.heard.push({ ...common, ip: decoded, dhcp });
      this.#answerDhcp(dhcp, decoded);
    } else if (decoded?.kind === "udp") {
      const tftp = decodeTftp(decoded.payload);
      this.heard.push({ ...common, ip: decoded, tftp });
      this.#answerTftp(tftp, decoded);
    }
  }

  /** For the test: something reaches the boards without having been asked for. */
  put(frame: Uint8Array): void {
    this.#waiting.push(frame);
  }

  flush(): void {}

  readable(timeoutMs: number): Promise<void> {
    if (this.#waiting.length === 0) this.now += Math.max(timeoutMs, 0.1);
    return Promise.resolve();
  }

  close(): void {}

  #answerArp({ senderMac, sender }: ArpFrame): void {
    const frame = { isRequest: false, senderMac: serverMac, sender: serverAddress };
    this.put(encodeArp({ ...frame, targetMac: senderMac, target: sender }));
  }

  #answerDhcp(asked: DhcpPacket, { sourceMac, destinationPort }: UdpFrame): void {
    const answer = this.#server.dhcp(asked, destinationPort);
    if (!answer) return;
    const yiaddr = answer.address ?? "0.0.0.0";
    const packet: DhcpPacket = {
      ...asked,
      operation: "reply",
      hops: answer.hops ?? 0,
      yiaddr: yiaddr as DhcpPacket["yiaddr"],
      file: answer.file ?? "",
      options: new Map([
        option("messageType", messageTypes[answer.type]),
        option("serverIdentifier", ipv4FromNumber(serverAddress)),
        option("subnetMask", ipv4FromNumber(0xffff_ff00)),
        ...(answer.options ?? []),
      ]),
    };
    this.put(
      encodeUdp({
        sourceMac: serverMac,
        destinationMac: answer.broadcast ? new Uint8Array(6).fill(0xff) : sourceMac,
        source: serverAddress,
        destination: answer.broadcast
          ? 0xffff_ffff
          : ipv4ToNumber(packet.yiaddr) || ipv4ToNumber(packet.ciaddr),
        sourcePort: 67,
        destinationPort: 68,
        ttl: 64,
        checksum: true,
        payload: encodeDhcp(packet),
      }),
    );
  }

  #answerTftp(packet: TftpPacket, from: UdpFrame): void {
    const key = `${from.source}:${from.sourcePort}`;
    if (packet.kind === "read") this.#open(key, packet.name, packet.options, from);
    else if (packet.kind === "ack") this.#window(key, packet.block, from);
    else if (packet.kind === "error") this.#transfers.delete(key);
  }

  #open(key: string, name: string, asked: TftpOptions, from: UdpFrame): void {
    const content = this.#server.open?.(name) ?? this.#server.files?.[name];
    if (!content) {
      this.#say({ kind: "error", code: 1, message: "file not found" }, from);
      return;
    }
    const grants = this.#server.grants ?? ["blksize", "tsize", "windowsize"];
    const options = asked.filter(([option]) => grants.includes(option));
    const value = (name: string, otherwise: number) =>
      Number(options.find(([option]) => option === name)?.[1] ?? otherwise);
    const transfer = {
      content,
      blockSize: value("blksize", 512),
      windowSize: value("windowsize", 1),
    };
    this.#transfers.set(key, transfer);
    if (options.length === 0) {
      this.#window(key, 0, from);
      return;
    }
    const told = options.map(
      ([option, text]) => [option, option === "tsize" ? `${content.length}` : text] as const,
    );
    this.#say({ kind: "option-ack", options: told }, from);
  }

  #window(key: string, acknowledged: number, from: UdpFrame): void {
    const { content, blockSize, windowSize } = this.#transfers.get(key) ?? {};
    if (!content || !blockSize || !windowSize) return;
    for (let block = acknowledged + 1; block <= acknowledged + windowSize; block++) {
      const at = (block - 1) * blockSize;
      if (at > content.length) return;
      this.#say({ kind: "data", block, bytes: content.subarray(at, at + blockSize) }, from);
    }
  }

  #say(packet: TftpPacket, to: UdpFrame): void {
    const index = this.#sent;
    this.#sent += 1;
    if (this.#server.loses?.(index, packet)) return;
    this.put(
      encodeUdp({
        sourceMac: serverMac,
        destinationMac: to.sourceMac,
        source: serverAddress,
        destination: to.source,
        sourcePort: 40_000 + (to.sourcePort % 10_000),
        destinationPort: to.sourcePort,
        ttl: 64,
        checksum: true,
        payload: encodeTftp(packet),
      }),
    );
  }
}

export interface Ran {
  readonly network: FakeNetwork;
  readonly result: SimulationResult;
  readonly discovers: readonly Heard[];
  readonly requests: readonly Heard[];
}

export async function run(
  firmwareName: string,
  server: FakeServer,
  settings: Partial<SimulationSettings> = {},
): Promise<Ran> {
  const network = new FakeNetwork(server);
  const firmware = firmwareNamed(firmwareName);
  if (!firmware) throw new RangeError(firmwareName);
  let seed = 1;
  const result = await simulate(
    { firmware, count: 1, staggerMs: 0, timeoutMs: 600_000, ...settings },
    {
      socket: network,
      clock: { monotonic: () => network.now as Milliseconds },
      random: () => {
        seed = (seed * 48271) % 2147483647; // Lehmer's generator: the same boards every time
        return seed / 2147483647;
      },
    },
    new AbortController().signal,
  );
  const ofType = (type: number) =>
    network.heard.filter(({ dhcp }) => dhcp && readOption(dhcp.options, "messageType") === type);
  return {
    network,
    result,
    discovers: ofType(messageTypes.discover),
    requests: ofType(messageTypes.request),
  };
}

/** A DHCP server with an address for each board and the same words for all. */
export function serverOf(
  words: Omit<Answer, "type" | "address">,
): (asked: DhcpPacket) => Answer | undefined {
  return (asked) => {
    const type = readOption(asked.options, "messageType");
    const address = `10.77.0.${100 + (asked.chaddr[5] ?? 0)}`;
    return { type: type === messageTypes.discover ? "offer" : "ack", address, ...words };
  };
}

const text = new TextEncoder();
export const bytes = (value: string): Uint8Array => text.encode(value);
export const piBoot = [43, bytes("\u0006\u0001\u0003..Raspberry Pi Boot   ")] as const;
