/** Loop devices and mounts: a part of a disk whose partition table is not written yet. */

import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { DiskError, ToolError } from "./errors.ts";
import { runTool } from "./tools.ts";
import { sleep } from "./wait.ts";

/**
 * Runs `work` with a loop device that begins at `offset` of `path`; detached afterwards in any case.
 *
 * The device reaches to the end of the disk (busybox has no limit), so the size of a file system on
 * it must always be given. In mode `read` the kernel itself refuses writes.
 */
export async function withLoop<T>(
  path: string,
  offset: number,
  work: (device: string) => Promise<T>,
  mode?: "read",
): Promise<T> {
  const device = await attach(path, offset, mode === "read" ? ["-r"] : []);
  try {
    return await work(device);
  } finally {
    await runTool("blockdev", ["--flushbufs", device]).catch(() => undefined);
    await detach(device);
  }
}

async function attach(path: string, offset: number, options: readonly string[]): Promise<string> {
  let failure: unknown;
  for (let attempt = 0; attempt < 10; attempt++) {
    const device = (await runTool("losetup", ["-f"])).output.trim();
    try {
      await runTool("losetup", [...options, "-o", String(offset), device, path]);
      return device;
    } catch (error) {
      failure = error; // somebody else took it between the two commands
      await sleep(50 + attempt * 50);
    }
  }
  throw new ToolError(`no loop device for ${path}`, { cause: failure });
}

async function detach(device: string): Promise<void> {
  for (let attempt = 0; attempt < 20; attempt++) {
    const { code } = await runTool("losetup", ["-d", device], { good: [0, 1, 255] });
    if (code === 0) return;
    await sleep(100);
  }
  throw new DiskError(`${device} cannot be detached`);
}

/** Runs `work` with `device` mounted; unmounted and on the medium when this resolves. */
export async function withMount<T>(
  device: string,
  type: string,
  work: (directory: string) => Promise<T>,
  { options = [], at }: { readonly options?: readonly string[]; readonly at?: string } = {},
): Promise<T> {
  const directory = at ?? mkdtempSync(`${tmpdir()}/marcoboot-`);
  try {
    const given = options.flatMap((option) => ["-o", option]);
    await runTool("mount", ["-t", type, ...given, device, directory]);
    try {
      return await work(directory);
    } finally {
      await unmount(directory);
    }
  } finally {
    if (at === undefined) rmdirSync(directory);
  }
}

/** Never lazily: the commit may not overtake a file system that still writes. */
async function unmount(directory: string): Promise<void> {
  let said = "";
  for (let attempt = 0; attempt < 20; attempt++) {
    const { code, output } = await runTool("umount", [directory], { good: [0, 1, 16, 32] });
    if (code === 0) return;
    said = output.trim();
    await sleep(250);
  }
  throw new DiskError(`${directory} cannot be unmounted: ${said}`);
}
