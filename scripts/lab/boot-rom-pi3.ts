/**
 * The boot ROM of a Raspberry Pi 3 and the bootcode.bin it loads, as far as the
 * network sees them. Run as a process inside a namespace of its own whose only
 * interface has the board's MAC address:
 *
 *   node boot-rom-pi3.ts '{"mac":"b8:27:eb:…","interface":"eth0","directory":"/…"}'
 *
 * What makes it differ from other clients, all kept: one xid for all boards, no
 * REQUEST, five DISCOVERs 5 s apart, unicast answer to an address it does not
 * have yet, no ARP reply ever, the sender of the answer as TFTP server, 512-octet
 * blocks without options for bootcode.bin, later files probed and fetched twice.
 *
 * Progress on standard error, one JSON result on standard output.
 */

import { createSocket } from "node:dgram";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type RomResult, readFirmwareConfig } from "./boot-rom.ts";
import { run } from "./command.ts";
import { fetchByTftp, TftpNotFound, type TftpOptions } from "./tftp-client.ts";

interface Settings {
  readonly mac: string;
  readonly interface: string;
  readonly directory: string;
}

interface Offer {
  readonly address: string;
  readonly netmask: string;
  /** Sender of the offer: where the ROM fetches from. */
  readonly server: string;
}

const xid = 0x26f30339; // the same on every board
const discovers = 5;
const discoverPeriodMs = 5000;
const serverPort = 67;
const clientPort = 68;

const say = (text: string) => process.stderr.write(`boot ROM: ${text}\n`);

/** A DISCOVER as the mask ROM sends it: 43, 60, 67, 128-135, 66 asked for; 97 = 0 + 44 sixteen times. */
export function discoverMessage(mac: string): Buffer {
  const header = Buffer.alloc(240);
  header.set([1, 1, 6, 0]); // BOOTREQUEST, Ethernet, 6 octets of address, no hops
  header.writeUInt32BE(xid, 4); // secs and flags stay 0: the answer shall be unicast
  header.set(Buffer.from(mac.replaceAll(":", ""), "hex"), 28);
  header.set([0x63, 0x82, 0x53, 0x63], 236); // magic cookie
  const option = (code: number, value: Buffer | readonly number[]) =>
    Buffer.from([code, value.length, ...value]);
  return Buffer.concat([
    header,
    option(53, [1]),
    option(55, [43, 60, 67, 128, 129, 130, 131, 132, 133, 134, 135, 66]),
    option(93, [0, 0]),
    option(94, [1, 2, 1]),
    option(97, [0, ...new Array<number>(16).fill(0x44)]),
    option(60, Buffer.from("PXEClient:Arch:00000:UNDI:002001")),
    Buffer.from([255]),
  ]);
}

/** The offer in an answer to this board, or undefined; it must hold "Raspberry Pi Boot" in option 43. */
export function readOffer(message: Buffer, mac: string, sender: string): Offer | undefined {
  if (message.length < 241 || message[0] !== 2 || message.readUInt32BE(4) !== xid) return undefined;
  if (message.subarray(28, 34).toString("hex") !== mac.replaceAll(":", "")) return undefined;
  const options = new Map<number, Buffer>();
  for (let at = 240; at < message.length && message[at] !== 255; ) {
    const code = message[at] ?? 255;
    if (code === 0) {
      at += 1;
      continue;
    }
    const length = message[at + 1] ?? 0;
    options.set(code, message.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  if (options.get(53)?.[0] !== 2) return undefined;
  if (!options.get(43)?.includes("Raspberry Pi Boot")) return undefined;
  const dotted = (bytes: Buffer) => [...bytes.subarray(0, 4)].join(".");
  return {
    address: dotted(message.subarray(16, 20)),
    netmask: dotted(options.get(1) ?? Buffer.from([255, 255, 255, 0])),
    server: sender,
  };
}

/** Brings the interface up without an address, deaf to ARP, and takes every unicast that reaches its MAC address. */
function preparePort(name: string): void {
  run("sysctl", ["-qw", `net.ipv4.conf.${name}.arp_ignore=8`, "net.ipv4.conf.all.rp_filter=0"]);
  run("sysctl", ["-qw", `net.ipv4.conf.${name}.rp_filter=0`]);
  run("ip", ["link", "set", name, "up"]);
  run("ip", ["route", "replace", "255.255.255.255/32", "dev", name]);
  run("ip", ["route", "replace", "local", "default", "dev", "lo", "table", "100"]);
  run("ip", ["rule", "add", "iif", name, "lookup", "100"]);
}

function leavePort(name: string): void {
  run("ip", ["addr", "flush", "dev", name]);
  run("ip", ["rule", "del", "iif", name, "lookup", "100"]);
  run("ip", ["link", "set", name, "down"]);
}

function discover(mac: string): Promise<Offer | undefined> {
  const socket = createSocket("udp4");
  const message = discoverMessage(mac);
  return new Promise((resolve) => {
    let sent = 0;
    const end = (offer: Offer | undefined) => {
      clearInterval(timer);
      socket.close();
      resolve(offer);
    };
    const send = () => {
      if (sent === discovers) return end(undefined); // low power until the next power cycle
      sent += 1;
      say(`DISCOVER ${sent} of ${discovers}`);
      socket.send(message, serverPort, "255.255.255.255");
    };
    const timer = setInterval(send, discoverPeriodMs);
    socket.on("message", (bytes, from) => {
      const offer = readOffer(bytes, mac, from.address);
      if (offer) end(offer);
    });
    socket.bind(clientPort, "0.0.0.0", () => {
      socket.setBroadcast(true);
      send();
    });
  });
}

/** The options of bootcode.bin and start.elf: a size probe and 1024-octet blocks. */
const laterOptions: TftpOptions = { blockSize: 1024, sizeProbe: true };

class Fetcher {
  readonly files: { name: string; bytes: number }[] = [];
  readonly #server: string;
  readonly #directory: string;

  constructor(server: string, directory: string) {
    this.#server = server;
    this.#directory = directory;
  }

  /** The file's octets, also written under its last name; undefined when the server has no such file. */
  async get(name: string, options: TftpOptions): Promise<Buffer | undefined> {
    try {
      const bytes = await fetchByTftp(this.#server, name, options);
      say(`${name}: ${bytes.length} octets`);
      writeFileSync(join(this.#directory, name.slice(name.lastIndexOf("/") + 1)), bytes);
      this.files.push({ name, bytes: bytes.length });
      return bytes;
    } catch (error) {
      if (!(error instanceof TftpNotFound)) throw error;
      say(`${name}: not found`);
      return undefined;
    }
  }
}

/** ROM, bootcode.bin and start.elf in the order of firmware#935. */
async function loadAll(fetcher: Fetcher, mac: string): Promise<boolean> {
  if (!(await fetcher.get("bootcode.bin", {}))) return false;
  await fetcher.get("bootsig.bin", {});
  const serial = `00${mac.replaceAll(":", "").slice(6)}`; // low three octets; the fourth is not on the wire
  const prefixes = [`${serial}/`, ""];
  let prefix: string | undefined;
  for (const candidate of prefixes) {
    if (await fetcher.get(`${candidate}start.elf`, laterOptions)) {
      prefix = candidate;
      break;
    }
  }
  if (prefix === undefined) return false;
  for (const name of ["autoboot.txt", "config.txt", "recovery.elf", "start.elf", "fixup.dat"]) {
    await fetcher.get(prefix + name, laterOptions);
  }
  for (const name of ["recovery.elf", "dt-blob.bin", "recovery.elf", "bootcfg.txt"]) {
    await fetcher.get(prefix + name, laterOptions);
  }
  const text = await fetcher.get(`${prefix}config.txt`, laterOptions);
  const config = readFirmwareConfig(text?.toString("utf8") ?? "");
  await fetcher.get(prefix + config.commandLine, laterOptions);
  for (const tree of new Set([config.deviceTree, "bcm2710-rpi-3-b.dtb", "bcm2837-rpi-3-b.dtb"])) {
    if (await fetcher.get(prefix + tree, laterOptions)) break;
  }
  if (config.initramfs) await fetcher.get(prefix + config.initramfs, laterOptions);
  return (await fetcher.get(prefix + config.kernel, laterOptions)) !== undefined;
}

export async function bootByNetwork(settings: Settings): Promise<RomResult> {
  preparePort(settings.interface);
  try {
    const offer = await discover(settings.mac);
    if (!offer) return { outcome: "silence", files: [] };
    say(`offered ${offer.address} by ${offer.server}`);
    run("ip", ["addr", "add", `${offer.address}/24`, "dev", settings.interface]);
    const fetcher = new Fetcher(offer.server, settings.directory);
    const complete = await loadAll(fetcher, settings.mac);
    return { outcome: complete ? "network" : "nothing", files: fetcher.files };
  } finally {
    leavePort(settings.interface);
  }
}

if (import.meta.main) {
  const settings = JSON.parse(process.argv[2] ?? "{}") as Settings;
  process.stdout.write(`${JSON.stringify(await bootByNetwork(settings))}\n`);
}
