/**
 * A board's end of the network: its hardware address, the IPv4 address it was
 * given, and ARP. Frames go out by the function it was made with; nothing is kept
 * of what was heard but the neighbours it asked for.
 */

import type { MacAddress } from "#protocol/brand.ts";
import {
  type ArpFrame,
  broadcastAddress,
  decodeFrame,
  type EthernetAddress,
  encodeArp,
  encodeTcp,
  encodeUdp,
  isBroadcast,
  limitedBroadcast,
  type TcpOptions,
} from "./frame.ts";
import type { Arrival, Moment, Program } from "./program.ts";

/** What differs between the network code of firmwares. */
export interface StationHabits {
  /** Time to live of every packet. */
  readonly ttl: number;
  /** False: UDP goes out without a checksum. */
  readonly udpChecksum: boolean;
  /** Whose ARP requests it answers; `until-data`: not once it fetches files. */
  readonly answersArp: "always" | "until-data";
}

export interface Datagram {
  readonly to: number;
  /** Absent: the broadcast address. */
  readonly toMac?: EthernetAddress;
  readonly toPort: number;
  readonly fromPort: number;
  readonly payload: Uint8Array;
}

const arpPeriodMs = 1000;
const arpAttempts = 4;

export class Station {
  readonly mac: MacAddress;
  readonly macBytes: EthernetAddress;
  /** Set by the simulation before the board runs. */
  now: Moment = 0;
  /** 0: none yet. */
  address = 0;
  netmask = 0;
  router = 0;
  answersArp: "always" | "never" | "until-data";
  /** File data has come. */
  hasData = false;
  framesSent = 0;
  readonly #habits: StationHabits;
  readonly #transmit: (frame: Uint8Array) => void;
  readonly #neighbours = new Map<number, EthernetAddress>();

  constructor(mac: MacAddress, habits: StationHabits, transmit: (frame: Uint8Array) => void) {
    this.mac = mac;
    this.macBytes = Uint8Array.fromHex(mac.replaceAll(":", ""));
    this.#habits = habits;
    this.answersArp = habits.answersArp;
    this.#transmit = transmit;
  }

  sendUdp(datagram: Datagram): void {
    this.#send(
      encodeUdp({
        sourceMac: this.macBytes,
        destinationMac: datagram.toMac ?? broadcastAddress,
        source: this.address,
        destination: datagram.to,
        sourcePort: datagram.fromPort,
        destinationPort: datagram.toPort,
        ttl: this.#habits.ttl,
        checksum: this.#habits.udpChecksum,
        payload: datagram.payload,
      }),
    );
  }

  sendTcp(segment: Omit<TcpOptions, "sourceMac" | "source" | "ttl">): void {
    const { ttl } = this.#habits;
    this.#send(encodeTcp({ ...segment, sourceMac: this.macBytes, source: this.address, ttl }));
  }

  /** What the frame holds for this board's program; ARP is dealt with here. */
  hear(bytes: Uint8Array): Arrival | undefined {
    const frame = decodeFrame(bytes);
    if (!frame) return undefined;
    if (frame.kind === "arp") {
      if (!frame.isRequest) this.#neighbours.set(frame.sender, frame.senderMac);
      else if (this.#answers(frame)) this.#sendArp(false, frame.sender, frame.senderMac);
      return undefined;
    }
    const broadcast = isBroadcast(bytes);
    const mine = frame.destination === this.address || this.address === 0;
    return mine || broadcast || frame.destination === limitedBroadcast
      ? { ...frame, isBroadcast: broadcast }
      : undefined;
  }

  /** Asks for the hardware address of `address`, or of the router it is behind. Undefined: no answer. */
  *resolve(address: number): Program<EthernetAddress | undefined> {
    const isLocal = this.isLocal(address);
    const hop = isLocal || this.router === 0 ? address : this.router;
    for (let attempt = 0; attempt < arpAttempts; attempt++) {
      const known = this.#neighbours.get(hop);
      if (known) return known;
      this.#sendArp(true, hop, new Uint8Array(6));
      const until = this.now + arpPeriodMs;
      // the answer is no arrival: look again each time the board is woken
      while (this.now < until && !this.#neighbours.has(hop)) yield Math.min(until, this.now + 1);
    }
    return this.#neighbours.get(hop);
  }

  isLocal(address: number): boolean {
    return this.netmask === 0 || ((address ^ this.address) & this.netmask) === 0;
  }

  #answers(question: ArpFrame): boolean {
    if (this.address === 0 || question.target !== this.address) return false;
    return this.answersArp === "always" || (this.answersArp === "until-data" && !this.hasData);
  }

  #sendArp(isRequest: boolean, target: number, targetMac: EthernetAddress): void {
    const { macBytes: senderMac, address: sender } = this;
    this.#send(encodeArp({ isRequest, senderMac, sender, targetMac, target }));
  }

  #send(frame: Uint8Array): void {
    this.framesSent += 1;
    this.#transmit(frame);
  }
}
