/**
 * The TFTP load generator, a process of its own inside the clients' namespace.
 *
 * Every client has its own address and fetches the file again and again until the
 * time is up, each time from another port than before (its transfer id, RFC 1350 §4);
 * what runs then is fetched to its end. Every block is compared with
 * the file. Losses are recovered as RFC 1350 and 7440 say: an ACK of the last block
 * in order after a gap, the same datagram again after a second of silence.
 *
 *   node tftp-load.ts '<TftpLoad as JSON>'     prints one TftpLoadResult as JSON
 */

import { readFileSync } from "node:fs";
import { addressNumber } from "./dhcp-messages.ts";
import { type BatchSocket, openBatchSocket, waitForDatagrams } from "./mmsg.ts";

export interface TftpLoad {
  readonly server: string;
  readonly file: string;
  /** The same content on this machine. */
  readonly expected: string;
  /** First address of the clients; the others follow. */
  readonly firstClient: string;
  readonly clients: number;
  readonly blksize: number;
  /** 1: the option is not sent. */
  readonly windowsize: number;
  readonly seconds: number;
}

export interface TftpLoadResult {
  /** Until the time was up. */
  readonly bytesInTime: number;
  readonly seconds: number;
  /** All that was fetched, the transfers that ended later included. */
  readonly bytes: number;
  readonly transfers: number;
  /** Datagrams this side had to repeat, and gaps it saw. */
  readonly repeats: number;
  /** What the server granted. */
  readonly windowsize: number;
  readonly blksize: number;
  /** Share of one core this process used: near 1 it may be the bottleneck itself. */
  readonly busy: number;
}

const opcode = { read: 1, data: 3, ack: 4, error: 5, oack: 6 } as const;
const serverPort = 69;
const repeatAfterMs = 1000;
const giveUpAfterMs = 15_000;
/** A client's transfers take these in turn. */
const ports = [20_000, 20_001, 20_002, 20_003];
const waitMs = 20;

interface Client {
  readonly address: number;
  readonly turn: number;
  /** Where this transfer is spoken from. */
  readonly socket: BatchSocket;
  /** The server's transfer id; 0 until its first datagram. */
  peer: number;
  /** Blocks received in order. */
  blocks: number;
  inWindow: number;
  blksize: number;
  windowsize: number;
  /** A gap was seen and told; told again only by the timer. */
  gap: boolean;
  last: Uint8Array;
  heardAt: number;
  sentAt: number;
  active: boolean;
}

class Load {
  readonly #options: TftpLoad;
  readonly #content: Buffer;
  readonly #sockets: readonly BatchSocket[];
  readonly #server: number;
  readonly #clients = new Map<number, Client>();
  readonly #begun = performance.now();
  #deadline = 0;
  #active = 0;
  #granted = { blksize: 512, windowsize: 1 };
  #bytes = 0;
  #bytesInTime = 0;
  #transfers = 0;
  #repeats = 0;

  constructor(options: TftpLoad) {
    this.#options = options;
    this.#content = readFileSync(options.expected);
    this.#server = addressNumber(options.server);
    this.#sockets = ports.map((port) =>
      openBatchSocket({ port, slots: 64, slotSize: 2048, bufferBytes: 32 * 1024 * 1024 }),
    );
  }

  run(): TftpLoadResult {
    const { seconds, clients, firstClient } = this.#options;
    const cpu = process.cpuUsage();
    this.#deadline = this.#begun + seconds * 1000;
    for (let index = 0; index < clients; index++)
      this.#start(addressNumber(firstClient) + index, 0);
    this.#flush();
    for (let turn = 0; this.#active > 0; turn++) {
      const ready = waitForDatagrams(this.#sockets, waitMs);
      const now = performance.now();
      for (const socket of ready) {
        const count = socket.receive();
        for (let index = 0; index < count; index++) this.#receive(socket, index, now);
      }
      if (ready.length === 0 || turn % 256 === 0) this.#repeatSilent(now);
      this.#flush();
    }
    const elapsed = (performance.now() - this.#begun) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    for (const socket of this.#sockets) socket.close();
    return {
      bytesInTime: this.#bytesInTime,
      seconds,
      bytes: this.#bytes,
      transfers: this.#transfers,
      repeats: this.#repeats,
      ...this.#granted,
      busy: (user + system) / 1e6 / elapsed,
    };
  }

  #flush(): void {
    for (const socket of this.#sockets) socket.flush();
  }

  /** @param turn - how many transfers this client had before */
  #start(address: number, turn: number): void {
    const { file, blksize, windowsize } = this.#options;
    const words = [file, "octet", "tsize", "0", "blksize", String(blksize)];
    if (windowsize > 1) words.push("windowsize", String(windowsize));
    const now = performance.now();
    const socket = this.#sockets[turn % this.#sockets.length];
    if (!socket) throw new RangeError("no sockets");
    const client: Client = {
      address,
      socket,
      turn,
      peer: 0,
      blocks: 0,
      inWindow: 0,
      blksize: 512,
      windowsize: 1,
      gap: false,
      last: Buffer.concat([Buffer.from([0, opcode.read]), Buffer.from(`${words.join("\0")}\0`)]),
      heardAt: now,
      sentAt: now,
      active: true,
    };
    this.#clients.set(address, client);
    this.#active += 1;
    socket.send(client.last, address, this.#server, serverPort);
  }

  #receive(socket: BatchSocket, index: number, now: number): void {
    const client = this.#clients.get(socket.receiverOf(index));
    if (!client?.active || client.socket !== socket) return;
    if (socket.senderOf(index) !== this.#server) return;
    const { input, slotSize } = socket;
    const at = index * slotSize;
    const port = socket.senderPortOf(index);
    const length = socket.lengthOf(index);
    const kind = input.readUInt16BE(at);
    if (client.peer === 0 && kind !== opcode.error) client.peer = port;
    if (kind === opcode.error)
      throw new Error(`server: ${input.toString("latin1", at + 4, at + length)}`);
    if (client.peer !== port) return; // another transfer's late datagram
    client.heardAt = now;
    if (kind === opcode.oack)
      this.#agree(client, input.toString("latin1", at + 2, at + length), now);
    else if (kind === opcode.data) this.#data(client, at, length, now);
  }

  #agree(client: Client, text: string, now: number): void {
    if (client.blocks > 0) return;
    const words = text.split("\0");
    for (let index = 0; index + 1 < words.length; index += 2) {
      const name = words[index]?.toLowerCase();
      if (name === "blksize") client.blksize = Number(words[index + 1]);
      if (name === "windowsize") client.windowsize = Number(words[index + 1]);
    }
    this.#granted = { blksize: client.blksize, windowsize: client.windowsize };
    this.#acknowledge(client, now);
  }

  #data(client: Client, at: number, length: number, now: number): void {
    const { input } = client.socket;
    const ahead = (input.readUInt16BE(at + 2) - client.blocks - 1) & 0xffff;
    if (ahead !== 0) {
      // A later block: one before it was lost. An earlier one: sent twice, needs no answer.
      if (ahead < 0x8000 && !client.gap) {
        client.gap = true;
        this.#repeats += 1;
        this.#acknowledge(client, now);
      }
      return;
    }
    const size = length - 4;
    const offset = client.blocks * client.blksize;
    if (this.#content.compare(input, at + 4, at + length, offset, offset + size) !== 0) {
      throw new Error(`block ${client.blocks + 1} differs from the file`);
    }
    client.blocks += 1;
    client.inWindow += 1;
    client.gap = false;
    this.#bytes += size;
    if (now < this.#deadline) this.#bytesInTime += size;
    const final = size < client.blksize;
    if (final || client.inWindow >= client.windowsize) this.#acknowledge(client, now);
    if (final) this.#end(client, offset + size, now);
  }

  #end(client: Client, size: number, now: number): void {
    if (size !== this.#content.length) throw new Error(`${size} octets, not the whole file`);
    client.active = false;
    this.#active -= 1;
    this.#transfers += 1;
    if (now < this.#deadline) this.#start(client.address, client.turn + 1);
  }

  #acknowledge(client: Client, now: number): void {
    const block = client.blocks & 0xffff;
    client.inWindow = 0;
    client.last = Uint8Array.of(0, opcode.ack, block >> 8, block & 0xff);
    client.sentAt = now;
    client.socket.send(client.last, client.address, this.#server, client.peer);
  }

  #repeatSilent(now: number): void {
    for (const client of this.#clients.values()) {
      if (!client.active || now - Math.max(client.heardAt, client.sentAt) < repeatAfterMs) continue;
      if (now - client.heardAt > giveUpAfterMs) throw new Error("the server fell silent");
      client.sentAt = now;
      client.gap = false;
      this.#repeats += 1;
      client.socket.send(
        client.last,
        client.address,
        this.#server,
        client.peer === 0 ? serverPort : client.peer,
      );
    }
  }
}

const [argument] = process.argv.slice(2);
if (argument === undefined) throw new Error("no load named");
process.stdout.write(`${JSON.stringify(new Load(JSON.parse(argument) as TftpLoad).run())}\n`);
