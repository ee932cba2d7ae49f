/** A virtual rack for one test, prepared, watched, and taken down whatever happens. */

import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import type { ImageFormat } from "#protocol/image.ts";
import { prepare } from "../../scripts/demo/prepare.ts";
import { addImages, learnRack, type Scenario, untilReady } from "../../scripts/demo/scenario.ts";
import { createCleanup } from "../../scripts/lab/cleanup.ts";
import { removeStaleNamespaces } from "../../scripts/lab/namespaces.ts";
import type { GuestFirmware } from "../../scripts/lab/qemu.ts";
import {
  createVirtualRack,
  type LabNode,
  type VirtualRackOptions,
} from "../../scripts/lab/virtual-rack.ts";
import { watchWorld } from "../../scripts/lab/world.ts";

export interface Laboratory {
  readonly scenario: Scenario;
  readonly node: LabNode;
  /** Lines of the laboratory so far. */
  readonly lines: readonly string[];
}

/** One node with an empty disk, powered on and learned, its netinst agent waiting for work; image in the library, if any. */
export async function oneReadyNode(
  t: ExecutionContext,
  firmware: GuestFirmware,
  image: ImageFormat | "none" = "raw",
  options: Settings = {},
): Promise<Laboratory> {
  const laboratory = await oneNode(t, firmware, image, options);
  const { scenario, node } = laboratory;
  await learnRack(scenario);
  await untilReady(scenario, node);
  return laboratory;
}

type Settings = Pick<VirtualRackOptions, "networkBoot" | "subnet">;

/** One node without power, and the server that shall boot it. */
export async function oneNode(
  t: ExecutionContext,
  firmware: GuestFirmware,
  image: ImageFormat | "none",
  options: Settings,
): Promise<Laboratory> {
  const cleanup = createCleanup((line) => t.log(line));
  t.teardown(() => cleanup.run());
  const say = (line: string) => t.log(line);
  const format = image === "none" ? "raw" : image;
  const { images, ...prepared } = await prepare([firmware], say, format);
  removeStaleNamespaces();
  const directory = mkdtempSync("/var/tmp/marcoboot-test-");
  cleanup.add(directory, () => rmSync(directory, { recursive: true, force: true }));
  t.teardown(() => {
    if (!t.passed) t.log(`last lines of the server:\n${lastLines(join(directory, "server.log"))}`);
  });
  const lines: string[] = [];
  const rack = await createVirtualRack({
    ...prepared,
    firmwares: [firmware],
    ...options,
    directory,
    adminPort: 8000,
    cleanup,
    onLine: (_outlet, line) => lines.push(line),
  });
  const world = watchWorld(rack.api);
  t.teardown(async () => {
    world.close();
    if (!t.passed) t.log(["last lines of the console:", ...lines.slice(-40)].join("\n"));
    await rack.close();
  });
  const [node] = rack.nodes;
  if (!node) throw new Error("a rack without nodes");
  const scenario: Scenario = { rack, world, say, atOnce: 1 };
  if (image !== "none") await addImages(scenario, images);
  return { scenario, node, lines };
}

function lastLines(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(-30).join("\n") : "none";
}
