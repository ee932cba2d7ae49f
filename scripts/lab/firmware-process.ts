/**
 * The firmware of all boards of a simulated rack, in one process: each boots from
 * the network through the interface in its own namespace. Forked by firmware-host.ts.
 *
 * What a kernel would be started with is read from what the server gave: the kernel
 * line from cmdline.txt or the iPXE script, site.json from the initramfs.
 */

import { parseMacAddress } from "#protocol/brand.ts";
import { systemClock } from "../../server/clock.ts";
import type { Firmware } from "../../server/sim/firmware/firmware.ts";
import { type FrameSocket, packetSocketOpener } from "../../server/sim/packet-socket.ts";
import type { Ending } from "../../server/sim/program.ts";
import { simulate } from "../../server/sim/simulation.ts";
import { boardModels } from "./board-models.ts";
import type { BootRequest, BootResult, ToFirmware } from "./firmware-host.ts";
import { namespaceVisits } from "./namespace-visit.ts";

/** Longer than any firmware tries by itself; who gives up is the firmware. */
const timeoutMs = 30 * 60_000;

const visit = await namespaceVisits();
const openSocket = await packetSocketOpener();
const cuts = new Map<number, AbortController>();

process.on("message", (message: ToFirmware) => {
  if (message.verb === "cut") return void cuts.get(message.id)?.abort();
  const cut = new AbortController();
  cuts.set(message.id, cut);
  void boot(message, cut.signal).then((result) => {
    cuts.delete(message.id);
    process.send?.(result);
  });
});
process.on("disconnect", () => process.exit(0));

async function boot(request: BootRequest, signal: AbortSignal): Promise<BootResult> {
  const { id } = request;
  const files = new Map<string, Uint8Array>();
  try {
    for (const firmware of boardModels[request.model].firmware) {
      const ending = await run(firmware, request, files, signal);
      if (ending.outcome !== "booted")
        return { id, outcome: ending.outcome, reason: ending.reason };
    }
    const commandLine = commandLineIn(files);
    if (commandLine === undefined) return { id, outcome: "elsewhere" };
    const partitionUuid = /\broot=PARTUUID=(?<uuid>\S+)/.exec(commandLine)?.groups?.["uuid"];
    if (partitionUuid !== undefined) return { id, outcome: "root", partitionUuid };
    return { id, outcome: "kernel", commandLine, site: siteIn(files) };
  } catch (error) {
    return { id, outcome: "failed", reason: String(error) };
  }
}

async function run(
  firmware: Firmware,
  request: BootRequest,
  files: Map<string, Uint8Array>,
  signal: AbortSignal,
): Promise<Ending> {
  let socket: FrameSocket | undefined;
  try {
    socket = visit(request.namespace, () => openSocket("eth0"));
    const result = await simulate(
      {
        firmware,
        count: 1,
        firstIndex: request.index,
        staggerMs: 0,
        firstMac: parseMacAddress(request.mac),
        timeoutMs,
        keepOctets: Number.POSITIVE_INFINITY,
      },
      {
        socket,
        clock: systemClock,
        random: Math.random,
        onFile: (_board, name, content) => {
          files.set(name.slice(name.lastIndexOf("/") + 1), Uint8Array.from(content));
        },
      },
      signal,
    );
    return result.boards[0]?.ending ?? { outcome: "failed", reason: "no board was simulated" };
  } finally {
    socket?.close();
  }
}

/** Undefined: the server told it to go on to its disk. */
function commandLineIn(files: ReadonlyMap<string, Uint8Array>): string | undefined {
  const text = (name: string) => Buffer.from(files.get(name) ?? []).toString("utf8");
  const script = /^kernel .*?\/kernel (?<words>.*?)(?: \|\| .*)?$/m.exec(text("boot.ipxe"));
  const line = script?.groups?.["words"] ?? text("cmdline.txt").trim();
  return line === "" ? undefined : line;
}

/**
 * The server's archive is the last of those an initramfs is made of (cpio "newc"):
 *
 *   header (110): … file size at 54, name size at 94, 8 hex digits each | name NUL | pad to 4 | content
 */
function siteIn(files: ReadonlyMap<string, Uint8Array>): string {
  const archive = Buffer.from(files.get("initrd.img") ?? files.get("initrd") ?? []);
  const name = "etc/marcoboot/site.json\0";
  const at = archive.lastIndexOf(name) - 110;
  if (at < 0) throw new Error("the initramfs holds no site.json");
  const size = Number.parseInt(archive.toString("latin1", at + 54, at + 62), 16);
  const start = at + 4 * Math.ceil((110 + name.length) / 4);
  return archive.toString("utf8", start, start + size);
}
