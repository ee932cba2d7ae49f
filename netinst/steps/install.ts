/** Install: chooses the disk, then writes a disk image or unpacks a root file system. */

import type { InstallAssignment } from "#protocol/agent.ts";
import type { DiskGuard } from "#protocol/disk.ts";
import { whyGuarded } from "#protocol/disk.ts";
import type { Disk, InstalledDisk } from "#protocol/node.ts";
import { manifestOf } from "../../images/manifest.ts";
import type { ClientCredential } from "../connection.ts";
import type { Console } from "../console.ts";
import { chooseDisk, openDisk } from "../disk.ts";
import { readContents } from "../disk-contents.ts";
import { InstallRefusedError } from "../errors.ts";
import { readHardware } from "../hardware.ts";
import type { ImageSource } from "../image-stream.ts";
import type { Reporter } from "../report.ts";
import type { Settings } from "../settings.ts";
import { configureTree } from "./configure.ts";
import { installRaw } from "./install-raw.ts";
import { installTar, treeDiskBytes } from "./install-tar.ts";

export interface InstallContext {
  readonly settings: Settings;
  readonly assignment: InstallAssignment;
  readonly reporter: Reporter;
  readonly console: Console;
  /** `http://10.77.0.1:8080`: a relative image address is taken from there. */
  readonly bootUrl: string;
  readonly identity: ClientCredential;
}

export interface Installed {
  /** `SHA256:…` of each SSH host key. */
  readonly sshHostKeys: readonly string[];
  readonly disk: InstalledDisk;
}

/** @throws AgentError with a reason for the admin; nothing on the disk is bootable then. */
export async function install(context: InstallContext, signal: AbortSignal): Promise<Installed> {
  const { settings, assignment, reporter, console } = context;
  const manifest = manifestOf(assignment.image);
  reporter.progress("preparing", 0);
  if (manifest.architecture !== settings.architecture) {
    throw new InstallRefusedError(
      `image ${manifest.name} is for ${manifest.architecture}, this machine is ${settings.architecture}`,
    );
  }
  if (settings.simulate && settings.diskFile === undefined) {
    throw new InstallRefusedError("a simulated node writes to a file only: --disk-file names none");
  }
  const { disks } = readHardware("/sys", settings.diskFile);
  const needed = manifest.format === "raw" ? manifest.sizeBytes : treeDiskBytes(manifest);
  const chosen = chooseDisk(disks, assignment.disk, needed);
  await checkGuard(chosen, assignment.guard, settings.diskFile);
  const source: ImageSource = {
    url: new URL(assignment.image.url, context.bootUrl).href,
    ticket: assignment.ticket,
    manifest,
    console,
  };
  const configure = (directory: string) =>
    configureTree(
      directory,
      {
        hostname: assignment.hostname,
        authorizedKeys: assignment.authorizedKeys,
        mac: settings.mac,
        site: settings.site,
        identity: context.identity,
        ...(settings.agentImage === undefined ? {} : { agentImage: settings.agentImage }),
      },
      console,
    );
  const disk = await openDisk(chosen, settings.diskFile);
  try {
    console.info(
      `installing ${manifest.name} (${manifest.format}, ${manifest.compression}) on ${disk.path}, ${disk.sizeBytes} bytes`,
    );
    const step = manifest.format === "raw" ? installRaw : installTar;
    const sshHostKeys = await step(
      {
        ...{ disk, source, reporter, console, configure },
        ...(settings.simulate && { playedRoot: `${settings.diskFile}.root` }),
      },
      signal,
    );
    return { sshHostKeys, disk: await installedOn(chosen, settings.diskFile) };
  } finally {
    await disk.close();
  }
}

/**
 * The server has looked already, but another disk may be in the machine by now.
 *
 * @throws InstallRefusedError
 */
async function checkGuard(
  disk: Disk,
  guard: DiskGuard | undefined,
  file: string | undefined,
): Promise<void> {
  if (guard === undefined) return;
  const contents = guard.onlyOver && (await readContents(disk, file));
  const refusal = whyGuarded({ ...disk, ...(contents && { contents }) }, guard);
  if (refusal !== undefined) throw new InstallRefusedError(refusal);
}

/** Known again by the partition table that the install ended with. */
async function installedOn(disk: Disk, file: string | undefined): Promise<InstalledDisk> {
  const contentsId = (await readContents(disk, file))?.id;
  return {
    name: disk.name,
    ...(disk.serial !== undefined && { serial: disk.serial }),
    ...(contentsId !== undefined && { contentsId }),
  };
}
