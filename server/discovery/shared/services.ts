/**
 * Service files: one file per service in a directory, JSON as MarcoPolo's:
 *
 *   { "id": "statusmonitor", "params": { "port": 1342 }, "groups": ["239.77.65.82"], "disabled": false }
 *
 * No `groups`: offered in every mesh of this host. `disabled` hides it. Of equal ids the first
 * file by name counts. A file that is wrong is named and left out; the others are offered.
 */

import { type FSWatcher, readdirSync, readFileSync, statSync, watch } from "node:fs";
import { join } from "node:path";
import { installService, isGroup, nodeService, type Params } from "#protocol/discovery.ts";
import { isParams } from "./message.ts";

export interface Service {
  readonly id: string;
  readonly params: Params;
  /** Meshes, as IPv4 groups; empty: all. */
  readonly groups: readonly string[];
}

export interface ServiceFiles {
  readonly services: readonly Service[];
  /** A line for each file that is wrong, and what to do. */
  readonly problems: readonly string[];
}

const idPattern = /^[A-Za-z0-9][A-Za-z0-9_.:-]{0,29}$/;
/** What remains of a datagram beside address, key, signature and certificate. */
const maxParamsOctets = 2048;
/** More is no service file. */
const maxFileOctets = 16 * 1024;
const reserved: readonly string[] = [installService, nodeService];

/** A directory that is not there holds no services. */
export function readServices(directory: string): ServiceFiles {
  const services = new Map<string, Service>();
  const problems: string[] = [];
  for (const name of filesIn(directory)) {
    const path = join(directory, name);
    try {
      const service = readService(path);
      if (!service) continue;
      if (services.has(service.id)) {
        throw new RangeError(`id ${service.id} is another file's: give it an id of its own`);
      }
      services.set(service.id, service);
    } catch (error) {
      problems.push(`${path}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return { services: [...services.values()], problems };
}

/** @returns undefined for a disabled one. @throws RangeError or SyntaxError naming what is wrong. */
function readService(path: string): Service | undefined {
  const { size } = statSync(path);
  if (size > maxFileOctets) throw new RangeError(`${size} octets, more than ${maxFileOctets}`);
  const value: unknown = JSON.parse(readFileSync(path, "utf8"));
  if (typeof value !== "object" || value === null) throw new RangeError("not a JSON object");
  const {
    id,
    params = {},
    groups = [],
    disabled = false,
    ...others
  } = value as Record<string, unknown>;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) {
    throw new RangeError(`unknown member ${unknown}: there are id, params, groups, disabled`);
  }
  if (typeof id !== "string" || !idPattern.test(id)) {
    throw new RangeError(`id ${JSON.stringify(id)} is not 1-30 letters, digits and - _ . :`);
  }
  if (reserved.includes(id)) throw new RangeError(`id ${id} is marcoboot's own`);
  if (!isParams(params)) {
    throw new RangeError("params has a value that is neither text, number, true nor false");
  }
  const octets = Buffer.byteLength(JSON.stringify(params));
  if (octets > maxParamsOctets) {
    throw new RangeError(`params take ${octets} octets, more than ${maxParamsOctets}`);
  }
  if (!Array.isArray(groups) || !groups.every(isGroup)) {
    throw new RangeError(`groups ${JSON.stringify(groups)} is no list of multicast addresses`);
  }
  if (typeof disabled !== "boolean") throw new RangeError("disabled is neither true nor false");
  return disabled ? undefined : { id, params, groups };
}

function filesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
      .filter((name) => !name.startsWith(".") && !name.endsWith("~"))
      .sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

export interface WatchedServices {
  current(): readonly Service[];
  /** Reads the files again now. */
  reload(): void;
  close(): void;
}

/** After the last of several changes; an editor writes a file in more than one step. */
const settleMs = 100;
/** A directory that is not there yet is looked for so often. */
const lookMs = 5000;

/**
 * Reads the services, and again whenever the directory changes.
 *
 * @param told - called after each reading
 */
export function watchServices(
  directory: string,
  told: (files: ServiceFiles) => void,
): WatchedServices {
  let services: readonly Service[] = [];
  let watcher: FSWatcher | undefined;
  let settling: NodeJS.Timeout | undefined;
  const reload = () => {
    clearTimeout(settling);
    const files = readServices(directory);
    services = files.services;
    told(files);
  };
  const look = () => {
    if (watcher) return;
    try {
      watcher = watch(directory, { persistent: false }, () => {
        clearTimeout(settling);
        settling = setTimeout(reload, settleMs).unref();
      });
      watcher.on("error", lose);
      reload();
    } catch {
      watcher = undefined; // not there yet
    }
  };
  const lose = () => {
    watcher?.close();
    watcher = undefined;
  };
  const looking = setInterval(look, lookMs).unref();
  look();
  if (!watcher) reload();
  return {
    current: () => services,
    reload,
    close() {
      clearInterval(looking);
      clearTimeout(settling);
      lose();
    },
  };
}
