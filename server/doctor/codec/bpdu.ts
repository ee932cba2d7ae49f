/**
 * Bridge protocol data units of spanning tree (IEEE 802.1D-2004 §9), as a host
 * on a switch port hears them: what they tell of how long a port learns.
 *
 * Pure: an Ethernet frame in, value out.
 *
 *   01:80:c2:00:00:00 | source | length | 42 42 03 | 0000 version type flags
 *   root id (8) | cost (4) | bridge id (8) | port (2)
 *   message age | max age | hello time | forward delay     (each 2, in 1/256 s)
 */

export interface Bpdu {
  readonly version: "stp" | "rstp" | "mstp";
  /** A topology change is under way. */
  readonly topologyChange: boolean;
  /** Seconds between two BPDUs. */
  readonly helloTime: number;
  /** Seconds a port spends listening, and again learning, before it forwards. */
  readonly forwardDelay: number;
  /** Hardware address of the switch that sent it. */
  readonly bridge: string;
}

const group = [0x01, 0x80, 0xc2, 0x00, 0x00, 0x00];
const llc = [0x42, 0x42, 0x03];
const start = 17; // 14 (Ethernet) + 3 (LLC)
const octets = 35; // a configuration BPDU
const versions: Readonly<Record<number, Bpdu["version"]>> = { 0: "stp", 2: "rstp", 3: "mstp" };
const configurationTypes = [0x00, 0x02];

/** `undefined`: no BPDU, or one that tells no times (topology change notification). */
export function decodeBpdu(frame: Uint8Array): Bpdu | undefined {
  if (!group.every((octet, at) => frame[at] === octet)) return undefined;
  if (!llc.every((octet, at) => frame[14 + at] === octet)) return undefined;
  if (frame.length < start + octets) return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset + start, octets);
  const version = versions[view.getUint8(2)];
  if (view.getUint16(0) !== 0 || !version || !configurationTypes.includes(view.getUint8(3))) {
    return undefined;
  }
  const seconds = (at: number) => view.getUint16(at) / 256;
  return {
    version,
    topologyChange: (view.getUint8(4) & 1) === 1,
    helloTime: seconds(31),
    forwardDelay: seconds(33),
    bridge: [...frame.subarray(start + 19, start + 25)]
      .map((octet) => octet.toString(16).padStart(2, "0"))
      .join(":"),
  };
}
