/**
 * Debian packages that are unpacked, never installed: of another architecture,
 * of the next release, or of non-free-firmware.
 *
 * apt works on a state of its own below the cache directory, with sources derived
 * from the machine's own list (the entry of the Debian archive, its key kept), so
 * the machine's configuration stays as it is. What was fetched once is found again
 * without asking the network.
 */

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Architecture } from "#protocol/firmware.ts";
import { CommandError, type Progress, run } from "./command.ts";

/** Release to take a package from: the machine's own, or the one after it. */
export type Suite = "own" | "next";

/** Release after the one this project supports as a host. */
const nextSuite = "trixie";
const components = ["main", "non-free-firmware"];
const architectures: readonly Architecture[] = ["amd64", "arm64"];

export interface ArchiveEntry {
  readonly uri: string;
  /** Path of a key ring, or an embedded key block. */
  readonly signedBy?: string;
}

export interface PrivateApt {
  /**
   * Fetches what is missing and unpacks each package into a directory of its own.
   *
   * @returns directories in the order of `names`
   * @throws CommandError when apt cannot get one of them
   */
  unpack(
    suite: Suite,
    architecture: Architecture,
    names: readonly string[],
  ): Promise<readonly string[]>;
  /** `6.1.0-44-amd64` for `linux-image-amd64`: the package that a metapackage stands for. */
  versionedKernel(architecture: Architecture): Promise<string>;
}

/** Finds the archive's entry in one-line and deb822 lists: the one of `suite` with component main. */
export function findArchiveEntry(
  texts: readonly string[],
  suite: string,
): ArchiveEntry | undefined {
  const found = texts.flatMap((text) => [...oneLineEntries(text), ...deb822Entries(text)]);
  return found.find((entry) => entry.suites.includes(suite) && entry.components.includes("main"));
}

interface SourcesEntry extends ArchiveEntry {
  readonly suites: readonly string[];
  readonly components: readonly string[];
}

function oneLineEntries(text: string): SourcesEntry[] {
  return text.split("\n").flatMap((line) => {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(.+)$/.exec(
      line.replace(/#.*$/, ""),
    );
    if (!match) return [];
    const [, options = "", uri = "", suite = "", rest = ""] = match;
    const signedBy = /(?:^|\s)signed-by=(\S+)/i.exec(options)?.[1];
    return [
      { uri, suites: [suite], components: rest.trim().split(/\s+/), ...(signedBy && { signedBy }) },
    ];
  });
}

function deb822Entries(text: string): SourcesEntry[] {
  return text
    .split("\n")
    .filter((line) => !line.startsWith("#"))
    .join("\n")
    .split(/\n\s*\n/)
    .flatMap((stanza) => {
      const fields = new Map(
        [...stanza.matchAll(/^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t]+.*)*)/gm)].map((field) => [
          String(field[1]).toLowerCase(),
          String(field[2]),
        ]),
      );
      const words = (name: string) => (fields.get(name) ?? "").trim().split(/\s+/).filter(Boolean);
      if (!words("types").includes("deb") || words("enabled")[0] === "no") return [];
      const signedBy = fields.get("signed-by");
      return words("uris").map((uri) => ({
        uri,
        suites: words("suites"),
        components: words("components"),
        ...(signedBy && { signedBy }),
      }));
    });
}

/** @param directory - e.g. /var/cache/marcoboot/apt */
export function openPrivateApt(directory: string, log: Progress): PrivateApt {
  const refreshed = new Set<Suite>();

  const optionsFor = (suite: Suite): string[] => {
    const state = join(directory, suite);
    const settings = {
      "Dir::State": join(state, "state"),
      "Dir::State::status": join(state, "status"),
      "Dir::Cache": join(state, "cache"),
      "Dir::Etc::sourcelist": join(state, "debian.sources"),
      "Dir::Etc::sourceparts": "-",
      "Dir::Etc::preferences": "-",
      "Dir::Etc::preferencesparts": "-",
      "APT::Sandbox::User": "root",
      "APT::Architectures": architectures.join(","),
      "APT::Update::Post-Invoke-Success": "true",
      "Acquire::Languages": "none",
      "Acquire::Retries": "3",
    };
    return Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  };

  const refresh = async (suite: Suite): Promise<void> => {
    if (refreshed.has(suite)) return;
    const state = join(directory, suite);
    for (const part of ["state/lists/partial", "cache/archives/partial"]) {
      mkdirSync(join(state, part), { recursive: true });
    }
    await writeFile(join(state, "status"), "");
    await writeFile(join(state, "debian.sources"), sourcesOf(suite));
    log(`reading the package lists of ${suiteName(suite)}`);
    await run("apt-get", [...optionsFor(suite), "-qq", "update"]);
    refreshed.add(suite);
  };

  const fetchDebs = async (suite: Suite, architecture: Architecture, names: readonly string[]) => {
    await refresh(suite);
    const target = join(directory, suite, `fetch-${process.pid}`);
    rmSync(target, { recursive: true, force: true });
    mkdirSync(target, { recursive: true });
    log(`fetching ${names.join(" ")} (${architecture}, ${suiteName(suite)})`);
    await run(
      "apt-get",
      [...optionsFor(suite), "-qq", "download", ...names.map((name) => `${name}:${architecture}`)],
      { directory: target },
    );
    return target;
  };

  const unpackedPath = (suite: Suite, architecture: Architecture, name: string) =>
    join(directory, suite, "unpacked", architecture, name);

  return {
    async unpack(suite, architecture, names) {
      const missing = names.filter((name) => !existsSync(unpackedPath(suite, architecture, name)));
      if (missing.length > 0) {
        const target = await fetchDebs(suite, architecture, missing);
        for (const file of readdirSync(target).filter((entry) => entry.endsWith(".deb"))) {
          const name = file.slice(0, file.indexOf("_"));
          const path = unpackedPath(suite, architecture, name);
          mkdirSync(`${path}.new`, { recursive: true });
          await run("dpkg", ["-x", join(target, file), `${path}.new`]);
          renameSync(`${path}.new`, path); // whole or not at all, also after a power cut
        }
        rmSync(target, { recursive: true });
      }
      return names.map((name) => unpackedPath(suite, architecture, name));
    },
    async versionedKernel(architecture) {
      const known = join(directory, "own", `kernel-${architecture}`);
      if (existsSync(known)) return readFileSync(known, "utf8");
      await refresh("own");
      const meta = `linux-image-${architecture}:${architecture}`;
      const shown = await run("apt-cache", [...optionsFor("own"), "show", meta]);
      const version = /^Depends:.*\blinux-image-(\d[^\s,]*)/m.exec(shown)?.[1];
      if (!version) throw new CommandError(`${meta} depends on no kernel package`);
      await writeFile(known, version);
      return version;
    },
  };
}

function suiteName(suite: Suite): string {
  if (suite === "next") return nextSuite;
  const name = /^VERSION_CODENAME=(\S+)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1];
  if (!name) throw new CommandError("/etc/os-release has no VERSION_CODENAME: is this Debian 12?");
  return name;
}

function sourcesOf(suite: Suite): string {
  const entry = findArchiveEntry(machineSources(), suiteName("own"));
  if (!entry) {
    throw new CommandError(
      `no deb entry for ${suiteName("own")} main in /etc/apt/sources.list or sources.list.d`,
    );
  }
  const fields = {
    Types: "deb",
    URIs: entry.uri,
    Suites: suiteName(suite),
    Components: components.join(" "),
    Architectures: architectures.join(" "),
    ...(entry.signedBy && { "Signed-By": entry.signedBy }),
  };
  return Object.entries(fields)
    .map(([name, value]) => `${name}: ${value}\n`)
    .join("");
}

function machineSources(): string[] {
  const parts = "/etc/apt/sources.list.d";
  const files = ["/etc/apt/sources.list"];
  if (existsSync(parts)) {
    const listed = readdirSync(parts).filter((name) => /\.(list|sources)$/.test(name));
    files.push(...listed.sort().map((name) => join(parts, name)));
  }
  return files.filter((file) => existsSync(file)).map((file) => readFileSync(file, "utf8"));
}
