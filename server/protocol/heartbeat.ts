/**
 * The heartbeat of a node that has nothing to do, and how the server calls it: two datagrams,
 * so that an idle node holds no connection. The key comes with each check-in, over mutual TLS.
 *
 *   beat, node -> server
 *   0        4         12           28                                  -16
 *   | "MBB1" | counter | round (16) | <node id> LF <assignment it has>  | mac (16) |
 *
 *   answer or call, server -> node: never longer than a beat
 *   0        4         12           28           32      33
 *   | "MBA1" | counter | round (16) | serial (4) | wants | mac (16) |
 *
 * `mac` covers everything before it. `round` is the server's random number: a beat of another
 * round counts for nothing and is answered with the present one, so that a server that forgot
 * everything in a restart cannot be shown recorded beats. Within a round the counters of beats
 * and the serials of answers only rise. A lost datagram costs time, never truth: what a node
 * must do is asked for and reported over TLS.
 *
 * Pure: whoever calls computes the HMAC.
 */

export const macOctets = 16;
const beatMagic = "MBB1";
const answerMagic = "MBA1";
const bodyAt = 28;
const answerOctets = 33 + macOctets;
/** The name of an assignment is at most 128 characters, an id 64. */
const maxBeatOctets = bodyAt + 64 + 1 + 128 + macOctets;

/** What a check-in gives the node for its beats until the next check-in. */
export interface HeartbeatOffer {
  /** UDP, at the address of the agent listener. */
  readonly port: number;
  /** 32 octets, base64. */
  readonly key: string;
  /** 16 octets, hex. */
  readonly round: string;
  /** Between two beats. */
  readonly seconds: number;
}

export interface Beat {
  readonly counter: number;
  /** Hex. */
  readonly round: string;
  readonly nodeId: string;
  /** `<task>:<epoch>:<action>` of the assignment it took last; empty when it has none. */
  readonly having: string;
}

/** What the server wants of the node; bits. */
export const wants = {
  /** Ask for an assignment: there is one that the beat did not name. */
  assignment: 1,
  /** Check in: the node's record does not fit what it sends. */
  checkIn: 2,
  /** Somebody looks at the node: tell its load (load.ts). */
  load: 4,
} as const;

export interface Answer {
  /** Of the newest beat heard. */
  readonly counter: number;
  /** Hex. */
  readonly round: string;
  readonly serial: number;
  /** Of {@link wants}. */
  readonly wants: number;
}

/** HMAC-SHA-256 of the octets, its first {@link macOctets}. */
export type Mac = (octets: Uint8Array) => Uint8Array;

/** A message whose mac is still to be checked: by `isGenuine`. */
export interface Sealed<Message> {
  readonly message: Message;
  isGenuine(mac: Mac): boolean;
}

export function encodeBeat({ counter, round, nodeId, having }: Beat, mac: Mac): Uint8Array {
  const body = new TextEncoder().encode(`${nodeId}\n${having}`);
  const octets = new Uint8Array(bodyAt + body.length);
  writeHead(octets, beatMagic, counter, round);
  octets.set(body, bodyAt);
  return sealed(octets, mac);
}

/** Undefined for anything that is no beat. */
export function decodeBeat(octets: Uint8Array): Sealed<Beat> | undefined {
  const end = octets.length - macOctets;
  if (end <= bodyAt || octets.length > maxBeatOctets) return undefined;
  const head = readHead(octets, beatMagic);
  const [nodeId = "", having, more] = new TextDecoder()
    .decode(octets.subarray(bodyAt, end))
    .split("\n");
  if (!head || having === undefined || more !== undefined) return undefined;
  return { message: { ...head, nodeId, having }, isGenuine: (mac) => isGenuine(octets, mac) };
}

export function encodeAnswer(answer: Answer, mac: Mac): Uint8Array {
  const octets = new Uint8Array(answerOctets - macOctets);
  writeHead(octets, answerMagic, answer.counter, answer.round);
  new DataView(octets.buffer).setUint32(bodyAt, answer.serial);
  octets[bodyAt + 4] = answer.wants;
  return sealed(octets, mac);
}

/** Undefined for anything that is no answer. */
export function decodeAnswer(octets: Uint8Array): Sealed<Answer> | undefined {
  const head = octets.length === answerOctets ? readHead(octets, answerMagic) : undefined;
  if (!head) return undefined;
  const view = new DataView(octets.buffer, octets.byteOffset);
  return {
    message: { ...head, serial: view.getUint32(bodyAt), wants: view.getUint8(bodyAt + 4) },
    isGenuine: (mac) => isGenuine(octets, mac),
  };
}

function writeHead(octets: Uint8Array, magic: string, counter: number, round: string): void {
  octets.set(new TextEncoder().encode(magic));
  new DataView(octets.buffer).setBigUint64(4, BigInt(counter));
  octets.set(Uint8Array.fromHex(round), 12);
}

/** Undefined when `octets` begin otherwise, or count further than a number can. */
function readHead(octets: Uint8Array, magic: string): Pick<Beat, "counter" | "round"> | undefined {
  if (new TextDecoder("latin1").decode(octets.subarray(0, 4)) !== magic) return undefined;
  const counter = Number(new DataView(octets.buffer, octets.byteOffset).getBigUint64(4));
  if (!Number.isSafeInteger(counter)) return undefined;
  return { counter, round: octets.subarray(12, bodyAt).toHex() };
}

function sealed(octets: Uint8Array, mac: Mac): Uint8Array {
  const whole = new Uint8Array(octets.length + macOctets);
  whole.set(octets);
  whole.set(mac(octets), octets.length);
  return whole;
}

function isGenuine(octets: Uint8Array, mac: Mac): boolean {
  const end = octets.length - macOctets;
  const right = mac(octets.subarray(0, end));
  let difference = 0; // looked at to the end: how long it takes tells nothing
  for (let index = 0; index < macOctets; index++) {
    difference |= (right[index] ?? 0) ^ (octets[end + index] ?? 0);
  }
  return difference === 0;
}
