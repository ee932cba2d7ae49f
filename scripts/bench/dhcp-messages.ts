/**
 * The DHCP messages of a BIOS PXE ROM (RFC 2131, 4578), for the load generators:
 * written here anew, so that what measures shares no code with what is measured.
 */

export const serverPort = 67;
export const clientPort = 68;

export const messageType = { discover: 1, offer: 2, request: 3, ack: 5 } as const;

export interface RomMessage {
  readonly type: number;
  readonly mac: Uint8Array;
  readonly xid: number;
  /** The answer shall be broadcast. */
  readonly broadcast: boolean;
  /** Option 50, four octets. */
  readonly wish?: Uint8Array;
  /** Option 54, four octets. */
  readonly server?: Uint8Array;
}

const vendorClass = Buffer.from("PXEClient:Arch:00000:UNDI:002001", "latin1");

export function romMessage({ type, mac, xid, broadcast, wish, server }: RomMessage): Buffer {
  const header = Buffer.alloc(240);
  header.set([1, 1, 6, 0]); // BOOTREQUEST, Ethernet
  header.writeUInt32BE(xid, 4);
  header.writeUInt16BE(broadcast ? 0x8000 : 0, 10);
  header.set(mac, 28);
  header.writeUInt32BE(0x63825363, 236);
  return Buffer.from([
    ...header,
    ...option(53, type),
    ...(wish ? option(50, ...wish) : []),
    ...(server ? option(54, ...server) : []),
    ...option(55, 1, 3, 43, 51, 54, 60, 66, 67),
    ...option(60, ...vendorClass),
    ...option(93, 0, 0),
    ...option(94, 1, 2, 1),
    255,
  ]);
}

function option(code: number, ...value: readonly number[]): readonly number[] {
  return [code, value.length, ...value];
}

export interface RomAnswer {
  readonly type: number;
  readonly xid: number;
  /** `yiaddr`. */
  readonly address: Uint8Array;
  readonly server: Uint8Array;
}

/** Undefined: no DHCP answer. */
export function readAnswer(packet: Buffer): RomAnswer | undefined {
  if (packet.length < 241 || packet[0] !== 2) return undefined;
  const type = optionOf(packet, 53)?.[0];
  const server = optionOf(packet, 54);
  if (type === undefined || !server) return undefined;
  return {
    type,
    xid: packet.readUInt32BE(4),
    address: Buffer.from(packet.subarray(16, 20)),
    server,
  };
}

function optionOf(packet: Buffer, wanted: number): Uint8Array | undefined {
  for (let at = 240; at + 1 < packet.length && packet[at] !== 255; ) {
    const code = packet[at];
    const length = code === 0 ? -1 : (packet[at + 1] ?? 0);
    if (code === wanted) return Buffer.from(packet.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return undefined;
}

/** The clients' MAC addresses: 02:00, then the address. */
export function macOf(address: Uint8Array): Uint8Array {
  return Uint8Array.of(2, 0, ...address);
}

export function addressNumber(text: string): number {
  return text.split(".").reduce((number, octet) => number * 256 + Number(octet), 0);
}

export function addressOctets(number: number): Uint8Array {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(number);
  return out;
}
