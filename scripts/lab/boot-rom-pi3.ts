/**
 * A simulated Raspberry Pi 3 (server/sim) as a process inside a namespace of its
 * own whose only interface is the board's. What it fetched is written to a
 * directory, under the last part of each name:
 *
 *   node boot-rom-pi3.ts '{"mac":"b8:27:eb:…","interface":"eth0","directory":"/…"}'
 *
 * Progress on standard error, one JSON result on standard output.
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseMacAddress } from "#protocol/brand.ts";
import { systemClock } from "../../server/clock.ts";
import { pi3 } from "../../server/sim/firmware/pi3.ts";
import { openPacketSocket } from "../../server/sim/packet-socket.ts";
import { type BoardResult, simulate } from "../../server/sim/simulation.ts";
import type { RomResult } from "./boot-rom.ts";
import { run } from "./command.ts";

interface Settings {
  readonly mac: string;
  readonly interface: string;
  readonly directory: string;
}

const timeoutMs = 30 * 60_000; // the laboratory's host may be slow and busy

export async function bootByNetwork(settings: Settings): Promise<RomResult> {
  run("ip", ["link", "set", settings.interface, "up"]);
  const socket = await openPacketSocket(settings.interface);
  try {
    const { boards } = await simulate(
      {
        firmware: pi3,
        count: 1,
        staggerMs: 0,
        firstMac: parseMacAddress(settings.mac),
        timeoutMs,
        keepOctets: Number.POSITIVE_INFINITY,
      },
      {
        socket,
        clock: systemClock,
        random: Math.random,
        onStep: (_board, { kind, text }) =>
          void process.stderr.write(`boot ROM: ${kind} ${text}\n`),
        onFile: (_board, name, content) =>
          writeFileSync(join(settings.directory, name.slice(name.lastIndexOf("/") + 1)), content),
      },
      new AbortController().signal,
    );
    const [board] = boards;
    if (!board) throw new Error("no board was simulated");
    return romResult(board);
  } finally {
    socket.close();
    run("ip", ["link", "set", settings.interface, "down"]);
  }
}

/** @throws Error when the network had files and did not give all of them: no SD card makes up for that. */
function romResult({ ending, files }: BoardResult): RomResult {
  switch (ending.outcome) {
    case "booted":
      return { outcome: "network", files };
    case "silence":
      return { outcome: "silence", files };
    case "failed":
      if (files.length > 0) throw new Error(ending.reason);
      return { outcome: "nothing", files };
  }
}

if (import.meta.main) {
  const settings = JSON.parse(process.argv[2] ?? "{}") as Settings;
  process.stdout.write(`${JSON.stringify(await bootByNetwork(settings))}\n`);
}
