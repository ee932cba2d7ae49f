/** A TFTP reader (RFC 1350, 2347-2349) with the habits of boot firmware: no windows, a size probe that it aborts. */

import { createSocket, type RemoteInfo, type Socket } from "node:dgram";

export interface TftpOptions {
  /** `blksize` asked for; absent: no option at all, 512 octets. */
  readonly blockSize?: number;
  /** Asks `tsize=0` first and aborts, as bootcode.bin does. */
  readonly sizeProbe?: boolean;
}

/** The server has no file of that name (ERROR 1). */
export class TftpNotFound extends Error {}

const tftpPort = 69;
const retransmitMs = 1000;
const attempts = 10;

/** @throws TftpNotFound, or Error when the server refuses or falls silent for 10 s. */
export async function fetchByTftp(
  server: string,
  name: string,
  options: TftpOptions,
): Promise<Buffer> {
  if (options.sizeProbe) await transfer(server, name, options, true);
  return await transfer(server, name, options, false);
}

function transfer(
  server: string,
  name: string,
  options: TftpOptions,
  probe: boolean,
): Promise<Buffer> {
  const socket = createSocket("udp4");
  return new Promise<Buffer>((resolve, reject) => {
    new Transfer(socket, server, name, options, probe, resolve, reject).start();
  }).finally(() => socket.close());
}

class Transfer {
  readonly #socket: Socket;
  readonly #server: string;
  readonly #request: Buffer;
  readonly #probe: boolean;
  readonly #resolve: (bytes: Buffer) => void;
  readonly #reject: (error: Error) => void;
  readonly #name: string;
  readonly #blocks: Buffer[] = [];
  #blockSize = 512;
  #expected = 1;
  #port: number | undefined;
  #last: Buffer;
  #left = attempts;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    socket: Socket,
    server: string,
    name: string,
    options: TftpOptions,
    probe: boolean,
    resolve: (bytes: Buffer) => void,
    reject: (error: Error) => void,
  ) {
    this.#socket = socket;
    this.#server = server;
    this.#name = name;
    this.#probe = probe;
    this.#resolve = resolve;
    this.#reject = reject;
    const words = [name, "octet"];
    if (options.blockSize !== undefined)
      words.push("tsize", "0", "blksize", `${options.blockSize}`);
    this.#request = Buffer.from(`\0\x01${words.map((word) => `${word}\0`).join("")}`, "latin1");
    this.#last = this.#request;
  }

  start(): void {
    this.#socket.on("message", (bytes, from) => this.#receive(bytes, from));
    this.#send(this.#request);
  }

  #send(packet: Buffer): void {
    this.#last = packet;
    this.#socket.send(packet, this.#port ?? tftpPort, this.#server);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#left -= 1;
      if (this.#left === 0) this.#end(new Error(`${this.#name}: the TFTP server fell silent`));
      else this.#send(this.#last);
    }, retransmitMs);
  }

  #end(error?: Error): void {
    clearTimeout(this.#timer);
    if (error) this.#reject(error);
    else this.#resolve(Buffer.concat(this.#blocks));
  }

  #receive(packet: Buffer, from: RemoteInfo): void {
    if (from.address !== this.#server || packet.length < 4) return;
    if (this.#port !== undefined && from.port !== this.#port) return;
    this.#port = from.port;
    this.#left = attempts;
    const opcode = packet.readUInt16BE(0);
    if (opcode === 5) this.#refused(packet);
    else if (opcode === 6) this.#acknowledged(packet);
    else if (opcode === 3) this.#block(packet);
  }

  #refused(packet: Buffer): void {
    const text = packet.subarray(4, -1).toString("utf8");
    const notFound = packet.readUInt16BE(2) === 1;
    this.#end(notFound ? new TftpNotFound(text) : new Error(`${this.#name}: ${text}`));
  }

  #acknowledged(packet: Buffer): void {
    const words = packet.subarray(2, -1).toString("latin1").split("\0");
    const at = words.indexOf("blksize");
    if (at >= 0) this.#blockSize = Number(words[at + 1]);
    if (this.#probe) this.#abort();
    else this.#send(Buffer.from([0, 4, 0, 0]));
  }

  #abort(): void {
    this.#socket.send(
      Buffer.from("\0\x05\0\0Early terminate\0", "latin1"),
      this.#port ?? tftpPort,
      this.#server,
      () => this.#end(),
    );
  }

  #block(packet: Buffer): void {
    if (this.#probe) {
      this.#abort(); // a server without options: its first block shows that the file exists
      return;
    }
    const number = packet.readUInt16BE(2);
    if (number !== this.#expected) return; // a repetition: answering it twice would double every later block
    const bytes = packet.subarray(4);
    this.#blocks.push(Buffer.from(bytes));
    this.#expected = (this.#expected + 1) & 0xffff;
    const acknowledgement = Buffer.from([0, 4, packet[2] ?? 0, packet[3] ?? 0]);
    if (bytes.length === this.#blockSize) this.#send(acknowledgement);
    else
      this.#socket.send(acknowledgement, this.#port ?? tftpPort, this.#server, () => this.#end());
  }
}
