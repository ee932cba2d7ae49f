/** Install and update: the disk that is meant, then a disk image, a root file system, or a root slot. */

import type { InstallAssignment, UpdateAssignment } from "#protocol/agent.ts";
import type { DiskGuard } from "#protocol/disk.ts";
import { whyGuarded } from "#protocol/disk.ts";
import type { Disk, InstalledDisk } from "#protocol/node.ts";
import type { RootSlot } from "#protocol/root-slots.ts";
import { manifestOf } from "../../images/manifest.ts";
import type { ClientCredential } from "../connection.ts";
import type { Console } from "../console.ts";
import { chooseDisk, openDisk } from "../disk.ts";
import { readContents } from "../disk-contents.ts";
import { InstallRefusedError } from "../errors.ts";
import { readHardware } from "../hardware.ts";
import type { ImageSource } from "../image-stream.ts";
import type { Reporter } from "../report.ts";
import { openRootTree } from "../root-tree.ts";
import { readText, type Settings } from "../settings.ts";
import { configureTree, type NodeConfiguration } from "./configure.ts";
import { installRaw, type RawInstall } from "./install-raw.ts";
import { installTar, treeDiskBytes } from "./install-tar.ts";
import { updateSlot } from "./update.ts";

export interface WriteContext {
  readonly settings: Settings;
  readonly reporter: Reporter;
  readonly console: Console;
  /** `http://10.77.0.1:8080`: a relative image address is taken from there. */
  readonly bootUrl: string;
  readonly identity: ClientCredential;
}
export interface InstallContext extends WriteContext {
  readonly assignment: InstallAssignment;
}
export interface UpdateContext extends WriteContext {
  readonly assignment: UpdateAssignment;
}

export interface Installed {
  /** `SHA256:…` of each SSH host key. */
  readonly sshHostKeys: readonly string[];
  readonly disk: InstalledDisk;
}

/** @throws AgentError with a reason for the admin; nothing on the disk is bootable then */
export async function install(context: InstallContext, signal: AbortSignal): Promise<Installed> {
  const { settings, console, assignment } = context;
  const { image } = assignment;
  const needed = image.format === "raw" ? image.sizeBytes : treeDiskBytes(image);
  return await withDisk(context, needed, async (writing, chosen) => {
    const { disk } = writing;
    console.info(
      `installing ${image.name} (${image.format}, ${image.compression}) on ${disk.path}, ${disk.sizeBytes} bytes`,
    );
    const configure = (directory: string, slot?: RootSlot) =>
      configureTree(directory, configurationOf(context, slot), console);
    if (image.format === "raw") {
      const sshHostKeys = await installRaw({ ...writing, configure }, signal);
      return { sshHostKeys, disk: await installedOn(chosen, settings.diskFile) };
    }
    const { sshHostKeys, slots } = await installTar({ ...writing, configure }, signal);
    const installed = await installedOn(chosen, settings.diskFile);
    return { sshHostKeys, disk: { ...installed, ...(slots && { slots }) } };
  });
}

/** @throws AgentError with a reason for the admin; the node boots what it booted before then */
export async function updateNode(context: UpdateContext, signal: AbortSignal): Promise<void> {
  const { assignment, console } = context;
  await withDisk(context, 0, async (writing) => {
    const configure = (directory: string, slot: RootSlot, former: string) => {
      const node = configurationOf(context, slot);
      const keys = [...authorizedKeysIn(former), ...node.authorizedKeys];
      const { trialSeconds } = assignment;
      const authorizedKeys = [...new Set(keys)];
      return configureTree(directory, { ...node, authorizedKeys, trialSeconds }, console);
    };
    await updateSlot({ ...writing, keep: assignment.keep, configure }, signal);
  });
}

/** Opens the disk that is meant, once everything says that it may be written. */
async function withDisk<T>(
  context: InstallContext | UpdateContext,
  needed: number,
  work: (writing: Omit<RawInstall, "configure">, chosen: Disk) => Promise<T>,
): Promise<T> {
  const { settings, assignment, reporter, console } = context;
  const manifest = manifestOf(assignment.image);
  reporter.progress("preparing", 0);
  if (manifest.architecture !== settings.architecture) {
    throw new InstallRefusedError(
      `image ${manifest.name} is for ${manifest.architecture}, this machine is ${settings.architecture}`,
    );
  }
  const { diskFile } = settings;
  if (settings.simulate && diskFile === undefined) {
    throw new InstallRefusedError("a simulated node writes to a file only: --disk-file names none");
  }
  const { disks } = readHardware("/sys", diskFile);
  const chosen = chooseDisk(disks, assignment.disk, needed);
  await checkGuard(chosen, assignment.guard, diskFile);
  const source: ImageSource = {
    url: new URL(assignment.image.url, context.bootUrl).href,
    ticket: assignment.ticket,
    manifest,
    console,
  };
  const disk = await openDisk(chosen, diskFile);
  try {
    const played = settings.simulate && diskFile !== undefined ? { playedDisk: diskFile } : {};
    return await work({ disk, source, reporter, console, ...played }, chosen);
  } finally {
    await disk.close();
  }
}

function configurationOf(
  { settings, assignment, identity }: InstallContext | UpdateContext,
  slot: RootSlot | undefined,
): NodeConfiguration {
  return {
    hostname: assignment.hostname,
    authorizedKeys: assignment.authorizedKeys,
    mac: settings.mac,
    site: settings.site,
    identity,
    system: {
      image: assignment.image.digest,
      madeBy: assignment.taskId,
      ...(slot && { slot }),
    },
    ...(settings.agentImage === undefined ? {} : { agentImage: settings.agentImage }),
  };
}

function authorizedKeysIn(directory: string): readonly string[] {
  const path = openRootTree(directory).find("/root/.ssh/authorized_keys");
  const text = path === undefined ? "" : (readText(path) ?? "");
  return text.split("\n").filter((line) => line !== "");
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
