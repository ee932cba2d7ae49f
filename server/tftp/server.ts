/**
 * The TFTP server of one interface: RFC 1350, 2347, 2348, 2349 and 7440, reading only.
 *
 * An engine moves the datagrams and keeps the transfers; what is judged here is
 * who may read and what a name means. A name is looked up in the table of boot
 * files and never becomes a path. Write requests are refused. A peer that does
 * not boot here (no lease, no OFFER outstanding) gets not one octet.
 */

import { readFileSync } from "node:fs";
import {
  type Ipv4Address,
  ipv4FromNumber,
  type MacAddress,
  milliseconds,
} from "#protocol/brand.ts";
import type { BootFiles } from "../boot/file.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { EventBus } from "../events.ts";
import type { Log } from "../log.ts";
import { closeDeviceSocket, devicePort } from "../net/device-socket.ts";
import { openDatagramSocket, openDeviceDescriptor } from "../net/udp.ts";
import { errorCode } from "./codec.ts";
import type { Engine, EngineContext, EngineCounts } from "./engine.ts";
import { startBatchedEngine } from "./engine-batched.ts";
import { startPortableEngine } from "./engine-portable.ts";
import { toNetascii } from "./netascii.ts";
import type { Answer, Question } from "./transfers.ts";

/** netascii is for text: a translated copy is made for each transfer. */
const maxNetasciiBytes = 1024 * 1024;
const ethernetMtu = 1500;
/** Milliseconds. */
const mtuHolds = 10_000;
const largestIpv4 = 65535;
/** Names from the wire are cut to this in events and logs. */
const maxNameShown = 200;
/** For the transfers that run when the server ends. */
const closeLimit = milliseconds(10_000);

export interface TftpContext {
  readonly config: Pick<Config, "tftpPort" | "tftp">;
  readonly interfaceName: string;
  /** Every datagram leaves from this address. */
  readonly address: Ipv4Address;
  readonly files: BootFiles;
  readonly events: Pick<EventBus, "publish">;
  readonly clock: Clock;
  readonly log: Log;
  /** Whoever has a lease or an offer here, or asked for its boot file: others get nothing. Absent: all. */
  readonly leases?: { macOf(address: Ipv4Address): MacAddress | undefined };
  readonly metrics?: TftpMetrics;
}

export interface TftpMetrics {
  /** `counts` gives the totals since the start, whenever it is called. */
  serve(interfaceName: string, counts: () => EngineCounts): void;
}

export interface TftpServer {
  /** The port requests are heard on. */
  readonly port: number;
  readonly engine: Engine["kind"];
  counts(): EngineCounts;
  /** Lets transfers that make progress finish, for 10 s at most. */
  close(): Promise<void>;
}

export async function startTftp(context: TftpContext): Promise<TftpServer> {
  const requests = new Requests(context);
  const engine: EngineContext = {
    limits: context.config.tftp,
    answer: (question) => requests.answer(question),
    ended: ({ address, name, bytes, outcome }) =>
      requests.publish(ipv4FromNumber(address), name, bytes, outcome),
  };
  const started =
    context.config.tftp.engine === "portable" ? undefined : await tryBatched(context, engine);
  const { port, running } = started ?? (await startPortable(context, engine));
  context.metrics?.serve(context.interfaceName, () => running.counts());
  return {
    port,
    engine: running.kind,
    counts: () => running.counts(),
    close: () => running.close(closeLimit),
  };
}

interface Started {
  readonly port: number;
  readonly running: Engine;
}

/** Undefined where the machine cannot do it; the log says why. */
async function tryBatched(
  context: TftpContext,
  engine: EngineContext,
): Promise<Started | undefined> {
  const { config, interfaceName, address, clock, log } = context;
  const binding = { interface: interfaceName, address, port: config.tftpPort };
  const requests = await openDeviceDescriptor(binding, log);
  if (requests === undefined) return undefined;
  let port: number;
  try {
    port = await devicePort(requests);
  } catch (error) {
    await closeDeviceSocket(requests);
    throw error;
  }
  try {
    const segmentation = config.tftp.engine !== "unsegmented";
    const running = await startBatchedEngine({
      ...engine,
      ...{ requests, interfaceName, address, segmentation, clock, log },
    });
    return { port, running };
  } catch (error) {
    log.warn({ err: error, interface: interfaceName }, "tftp uses plain sockets");
    return undefined;
  }
}

async function startPortable(context: TftpContext, engine: EngineContext): Promise<Started> {
  const { config, interfaceName, address, clock, log } = context;
  const binding = { interface: interfaceName, address, port: config.tftpPort };
  const requests = await openDatagramSocket(binding, log);
  const running = await startPortableEngine({
    ...engine,
    ...{ requests, interfaceName, address, clock, log },
  });
  return { port: requests.port, running };
}

/** Judges requests, and tells what came of them. */
class Requests {
  readonly #context: TftpContext;
  #mtu = { value: ethernetMtu, until: 0 };

  constructor(context: TftpContext) {
    this.#context = context;
  }

  answer(question: Question): Answer {
    const { id } = question;
    const address = ipv4FromNumber(question.address);
    const { leases, log } = this.#context;
    if (leases && leases.macOf(address) === undefined) {
      log.debug({ address }, "tftp request of an address without a lease dropped");
      return { kind: "silence", id };
    }
    try {
      return this.#judge(question, address);
    } catch (error) {
      log.error({ err: error, address }, "tftp request failed");
      return { kind: "refused", id, code: errorCode.undefined, message: "the server failed" };
    }
  }

  #judge({ id, request }: Question, address: Ipv4Address): Answer {
    const refused = (code: number, message: string): Answer => {
      const outcome = code === errorCode.fileNotFound ? "not-found" : "aborted";
      if (request.kind === "read") this.publish(address, request.name, 0, outcome);
      return { kind: "refused", id, code, message };
    };
    if (request.kind === "write") {
      return refused(errorCode.accessViolation, "this server takes no files");
    }
    if (request.mode !== "octet" && request.mode !== "netascii") {
      return refused(errorCode.illegalOperation, `no mode ${shown(request.mode)}`);
    }
    const file = this.#context.files.open(request.name, { address, protocol: "tftp" });
    if (!file) return refused(errorCode.fileNotFound, "file not found");
    if (request.mode === "netascii" && file.sizeBytes > maxNetasciiBytes) {
      return refused(errorCode.undefined, "too large for netascii: use octet");
    }
    const bytes = request.mode === "octet" ? file.bytes() : toNetascii(file.bytes());
    const mtu = this.#readMtu();
    const largestDatagram = this.#context.config.tftp.allowFragments ? largestIpv4 : mtu;
    return { kind: "content", id, content: { bytes }, largestDatagram, mtu };
  }

  /** Read again once in a while, because an administrator may change it; not for every request. */
  #readMtu(): number {
    const { clock, interfaceName } = this.#context;
    const now = clock.monotonic();
    if (now >= this.#mtu.until)
      this.#mtu = { value: readMtu(interfaceName), until: now + mtuHolds };
    return this.#mtu.value;
  }

  publish(
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
}

/** Ethernet's when the kernel does not tell. */
function readMtu(interfaceName: string): number {
  try {
    const mtu = Number(readFileSync(`/sys/class/net/${interfaceName}/mtu`, "utf8"));
    return Number.isInteger(mtu) && mtu >= 68 ? Math.min(mtu, largestIpv4) : ethernetMtu; // RFC 791: 68 at least
  } catch {
    return ethernetMtu; // no sysfs, or an interface of another name space
  }
}

function shown(text: string): string {
  return text.length > maxNameShown ? `${text.slice(0, maxNameShown)}…` : text;
}
