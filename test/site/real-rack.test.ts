/**
 * README's section "A real rack", word for word: its rack files and commands,
 * against hardware that is simulated from the socket on (Debian's snmpd, programs
 * in gpiod's place) and boards that run the real agent. From a dark rack to nodes
 * that are installed, each in its slot.
 *
 * Two stacks of four, and three of two, unless MARCOBOOT_WHOLE_RACK=1: then 48 boards.
 */

import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import test, { type ExecutionContext } from "ava";
import { parse } from "yaml";
import type { Node } from "#protocol/node.ts";
import { createCleanup } from "../../scripts/lab/cleanup.ts";
import { type Site, startSite } from "../../scripts/lab/learn.ts";
import { holdsImage, makeSmallImage } from "../../scripts/lab/small-image.ts";
import {
  apcOutlets,
  type HardwareOptions,
  makeGpioRelays,
  poePorts,
  startSnmpDevice,
} from "../support/hardware/hardware.ts";

const root = join(import.meta.dirname, "..", "..");
const isWhole = process.env["MARCOBOOT_WHOLE_RACK"] === "1";
const minuteMs = 60_000;
const installWithinMs = 20 * minuteMs;

const [section = ""] = readFileSync(join(root, "README.md"), "utf8")
  .split("\n## ")
  .filter((one) => one.startsWith("A real rack\n"));
const blocks = (language: string) =>
  [...section.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "gms"))].map(
    ([, text = ""]) => text,
  );
const [gpioFile = "", poeFile = "", pduFile = ""] = blocks("yaml");
const commands = (blocks("sh")[0] ?? "")
  .split("\n")
  .map((line) => line.replace(/ +#.*$/, ""))
  .filter((line) => line.startsWith("marcoboot "))
  .map((line) => line.split(" ").slice(1));

interface Hardware {
  readonly name: string;
  readonly file: string;
  readonly stacks: number;
  readonly perStack: number;
  readonly perSlotOutlets: boolean;
  /** Whether the order within a stack is known without a person. */
  readonly start: (site: Site, options: HardwareOptions, programs: string) => Promise<void> | void;
}

/** Outlets of the laboratory's power strip: `a1` to `l4`, or `a` to `l`. */
const letters = "abcdefghijklmnopqrstuvwxyz";
const outletNames = (stacks: number, perStack: number): readonly string[] =>
  [...letters.slice(0, stacks)].flatMap((stack) =>
    Array.from({ length: perStack }, (_, index) => `${stack}${index + 1}`),
  );

const small = (text: string) =>
  isWhole ? text : text.replace("count: 12", "count: 2").replaceAll("count: 16", "count: 2");
const pduSize = isWhole ? 16 : 2;
const twelve = isWhole ? 12 : 2;

const table: readonly Hardware[] = [
  {
    name: "a relay board on GPIO lines",
    file: gpioFile,
    ...{ stacks: twelve, perStack: 4, perSlotOutlets: false },
    start(_site, { socket }, programs) {
      const { stacks } = parse(gpioFile) as {
        stacks: { outlet: { settings: { line: { each: readonly number[] } } } };
      };
      const lines = stacks.outlet.settings.line.each;
      const outlets = lines
        .slice(0, twelve)
        .map((line, index) => [line, letters.charAt(index)] as const);
      makeGpioRelays(new Map(outlets), { socket, directory: programs });
    },
  },
  {
    name: "a PoE switch",
    file: poeFile,
    ...{ stacks: twelve, perStack: 4, perSlotOutlets: true },
    start: (_site, options) =>
      startSnmpDevice("10.0.0.2", "rack", poePorts(outletNames(twelve, 4)), options),
  },
  {
    name: "PDUs",
    file: pduFile,
    ...{ stacks: 3, perStack: pduSize, perSlotOutlets: true },
    async start(_site, options) {
      for (const [index, stack] of ["a", "b", "c"].entries()) {
        const outlets = outletNames(3, pduSize).filter((name) => name.startsWith(stack));
        const directory = join(options.directory, stack);
        await startSnmpDevice(`10.0.0.${11 + index}`, "rack", apcOutlets(outlets), {
          ...options,
          directory,
        });
      }
    },
  },
];

for (const hardware of table) {
  test(`from cables to installed nodes with ${hardware.name}`, async (t) => {
    t.timeout(40 * minuteMs);
    t.true(commands.length >= 7, "README has its commands");
    await fromCablesToNodes(t, hardware);
  });
}

async function fromCablesToNodes(t: ExecutionContext, hardware: Hardware): Promise<void> {
  const cleanup = createCleanup((line) => t.log(line));
  t.teardown(() => cleanup.run());
  const programs = mkdtempSync("/var/tmp/marcoboot-programs-");
  cleanup.add(programs, () => rmSync(programs, { recursive: true, force: true }));
  const { stacks, perStack, perSlotOutlets } = hardware;
  const site = await startSite(
    {
      ...{ stacks, perStack, perSlotOutlets, models: ["pi4"], faults: {}, senses: true, seed: 1 },
      slotTimeoutSeconds: 60,
    },
    cleanup,
    (line) => t.log(line),
    undefined,
    { programs },
  );
  const { server, rack } = site;
  await server.api.send("DELETE", `/api/v1/racks/${rack.name}`); // README's describes the same boards
  const options: HardwareOptions = {
    network: { serverNamespace: `${site.namespaces}-srv` },
    cleanup,
    directory: join(site.directory, "hardware"),
    socket: join(site.directory, "rack", "power.sock"),
  };
  mkdirSync(options.directory);
  await hardware.start(site, options, programs);

  const image = makeSmallImage(site.directory, "debian");
  writeFileSync(join(site.directory, "lab.yaml"), small(hardware.file));
  const began = performance.now();
  const took = () => `${Math.round((performance.now() - began) / 1000)} s`;
  for (const words of commands) {
    const said = await marcoboot(words.map(wordFor(image.path, hardware)), site);
    t.log(`${took()}  marcoboot ${words.join(" ")}\n${said.split("\n").slice(-3).join("\n")}`);
  }
  const nodes = await untilInstalled(site, stacks * perStack);
  t.log(`${nodes.length} nodes installed after ${took()}`);
  const stackNames = (
    await server.api.get<{ stacks: readonly { name: string }[] }>("/api/v1/racks/lab")
  ).stacks;
  for (const { board, place } of rack.boards) {
    const node = nodes.find(({ mac }) => mac === board.mac);
    const stack = stackNames[letters.indexOf(place?.stack ?? "")]?.name;
    t.is(node?.slot?.stack, stack, board.mac);
    if (perSlotOutlets) t.is(node?.slot?.slot, place?.slot, board.mac);
    t.is(node?.state, "installed", board.mac);
    t.true(holdsImage(board.disk, image), board.mac);
  }
  await site.close();
}

/** What cannot be the same here: the image is a small one, and the PDUs' stacks have letters. */
function wordFor(image: string, { name }: Hardware): (word: string) => string {
  const words: Readonly<Record<string, string>> = {
    "debian.img.zst": image,
    "raspberry-pi": "none",
    ...(name === "PDUs" && { "slot:lab/1/1": "slot:lab/a/1" }),
  };
  return (word) => words[word] ?? word;
}

async function marcoboot(words: readonly string[], { directory, server }: Site): Promise<string> {
  const token = join(directory, "token");
  writeFileSync(token, server.api.token ?? "", { mode: 0o600 });
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    [join(root, "server", "cli", "main.ts"), ...words],
    {
      cwd: directory,
      timeout: installWithinMs,
      env: {
        ...process.env,
        MARCOBOOT_STATE: join(directory, "server"),
        MARCOBOOT_TOKEN_FILE: token,
      },
    },
  );
  return `${stderr}${stdout}`.trim();
}

async function untilInstalled({ server }: Site, count: number): Promise<readonly Node[]> {
  const deadline = performance.now() + installWithinMs;
  for (;;) {
    const { items } = await server.api.get<{ items: readonly Node[] }>("/api/v1/nodes");
    const installed = items.filter(({ state }) => state === "installed");
    if (installed.length === count || performance.now() > deadline) return items;
    await sleep(1000);
  }
}
