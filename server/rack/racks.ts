/**
 * The racks that are kept: read from a file, checked, compared, changed and given
 * out again. In the journal their secrets are sealed; what this room answers
 * says only that there are some.
 */

import { createHash } from "node:crypto";
import { stringify } from "yaml";
import type { Ipv4Address } from "#protocol/brand.ts";
import type { Outlet, Rack, RackReport } from "#protocol/rack.ts";
import type { Finding } from "#protocol/timeline.ts";
import type { Config } from "../config.ts";
import {
  ConflictError,
  InvalidInputError,
  NotFoundError,
  PowerRefusedError,
  PreconditionFailedError,
  UnavailableError,
} from "../errors.ts";
import type { Power } from "../power/power.ts";
import { driverNamed } from "../power/registry.ts";
import {
  type KeptSecrets,
  keptSecretsOf,
  mapOutlets,
  outletsOf,
  type Secrets,
  withoutSecrets,
} from "../power/secrets.ts";
import type { Store } from "../store/store.ts";
import { checkOutlets, checkRack } from "./check.ts";
import { differencesOf } from "./differences.ts";
import { mergePatch } from "./merge-patch.ts";
import { documentOf, yamlOf } from "./rack-document.ts";
import { parseRackFile } from "./rack-file.ts";

/** Everything answered is without secrets. */
export interface Racks {
  list(): readonly Rack[];
  /** @throws NotFoundError */
  get(name: string): Rack;
  /** Changes with every change of the rack; undefined when there is none. */
  revisionOf(name: string): string | undefined;
  /** The file that makes this rack. @throws NotFoundError */
  file(name: string): string;
  /**
   * Creates or replaces. On stable storage when it returns.
   *
   * @param revision - what the writer believes to replace; undefined: whatever is there
   * @throws RackFileError, InvalidInputError when the file is another rack's, ConflictError when
   *   another rack has the same, PreconditionFailedError when somebody else changed it meanwhile
   */
  put(name: string, text: string, revision?: string): Rack;
  /** A merge patch of what {@link Racks.file} says. Errors as {@link Racks.put}, and NotFoundError. */
  patch(name: string, patch: unknown, revision?: string): Rack;
  /** @throws NotFoundError, ConflictError while a task runs on one of its nodes */
  delete(name: string): void;
  /** Changes nothing. @param askOutlets - each one's state, which takes as long as the slowest. @throws RackFileError */
  check(text: string, askOutlets: boolean): Promise<RackReport>;
  /** What of the racks that are kept does not fit the site, since its settings or others changed. */
  findings(): readonly Finding[];
  /** Asks an outlet that need not be in a rack. @throws InvalidInputError, PowerUnreachableError, PowerRefusedError */
  probe(outlet: Outlet): ReturnType<Power["probe"]>;
}

export interface RacksContext {
  readonly store: Pick<
    Store,
    "racks" | "nodes" | "reservations" | "tasks" | "settings" | "transaction" | "compact"
  >;
  readonly power: Pick<Power, "probe">;
  readonly secrets: Secrets;
  readonly config: Pick<Config, "subnets">;
  readonly ownAddresses: readonly Ipv4Address[];
}

export function createRacks(context: RacksContext): Racks {
  const { store, power, secrets } = context;
  const seal = (rack: Rack) => mapOutlets(rack, secrets.seal);
  /** What cannot be opened any more is simply not the same. */
  const opened = (outlet: Outlet): Outlet => {
    try {
      return secrets.open(outlet);
    } catch (error) {
      if (error instanceof PowerRefusedError) return outlet;
      throw error;
    }
  };
  const shown = (rack: Rack) => mapOutlets(rack, withoutSecrets);

  sealAll(store, seal);

  const stored = (name: string): Rack => {
    const rack = store.racks.get(name);
    if (rack) return rack;
    throw new NotFoundError(`no rack ${name}`);
  };
  const keptSecrets = (): KeptSecrets =>
    keptSecretsOf(store.racks.list().flatMap(outletsOf), secrets);
  const findingsOf = (rack: Rack) =>
    checkRack(rack, {
      subnets: context.config.subnets,
      ownAddresses: context.ownAddresses,
      store,
      others: store.racks.list().filter(({ name }) => name !== rack.name),
    });
  const revisionOf = (name: string): string | undefined => {
    const rack = store.racks.get(name);
    return rack && createHash("sha256").update(JSON.stringify(rack)).digest("hex").slice(0, 16);
  };

  const put = (name: string, text: string, revision: string | undefined): Rack => {
    const rack = parseRackFile(text, `rack ${name}`, keptSecrets());
    if (rack.name !== name) {
      throw new InvalidInputError(`the file is of rack ${rack.name}, not ${name}`);
    }
    const claimed = findingsOf(rack).find(({ code }) => code === "in-another-rack");
    if (claimed) throw new ConflictError(`${claimed.text}: ${claimed.remedy}`);
    store.transaction(() => {
      const current = revisionOf(name);
      if (revision !== undefined && revision !== current) {
        throw new PreconditionFailedError(
          current === undefined
            ? `rack ${name} is not there any more`
            : `rack ${name} was changed meanwhile: read it again`,
        );
      }
      store.racks.put(seal(rack));
    });
    return shown(rack);
  };

  return {
    list: () => store.racks.list().map(shown),
    get: (name) => shown(stored(name)),
    revisionOf,
    file: (name) => yamlOf(stored(name)),
    put,
    patch(name, patch, revision) {
      const document = documentOf(stored(name));
      return put(name, stringify(mergePatch(document, patch)), revision);
    },
    delete(name) {
      stored(name);
      const busy = store.tasks
        .unfinished()
        .map((task) => store.nodes.get(task.nodeId))
        .find((node) => node?.slot?.rack === name);
      if (busy)
        throw new ConflictError(`node ${busy.name} of the rack has a task: cancel it first`);
      store.racks.delete(name);
    },
    async check(text, askOutlets) {
      const rack = parseRackFile(text, "rack file", keptSecrets());
      const before = store.racks.get(rack.name);
      const revision = revisionOf(rack.name);
      const report = {
        name: rack.name,
        ...(revision !== undefined && { revision }),
        differences: differencesOf(before && mapOutlets(before, opened), rack),
        findings: findingsOf(rack),
      };
      if (!askOutlets) return report;
      const said = await checkOutlets(rack, power);
      return { ...report, findings: [...report.findings, ...said] };
    },
    findings: () => store.racks.list().flatMap(findingsOf),
    async probe({ driver: kind, settings }) {
      const driver = driverNamed(kind);
      if (!driver) throw new InvalidInputError(`no power driver ${kind}`);
      try {
        const known = keptSecrets()(driver, settings);
        driver.parse(known);
        return await power.probe({ driver: kind, settings: known });
      } catch (cause) {
        if (!(cause instanceof RangeError)) throw cause;
        throw new InvalidInputError(cause.message, [], { cause });
      }
    },
  };
}

/** Set once nothing of a secret in clear is left in the journal's file. */
const erasedName = "secrets-erased";

/** Racks of versions that kept secrets in clear; what such a version wrote is erased too. */
function sealAll(store: RacksContext["store"], seal: (rack: Rack) => Rack): void {
  for (const rack of store.racks.list()) {
    const sealed = seal(rack);
    if (JSON.stringify(sealed) === JSON.stringify(rack)) continue;
    store.settings.put(erasedName, "no");
    store.racks.put(sealed);
  }
  if (store.settings.get(erasedName) === "yes") return;
  try {
    store.compact();
    store.settings.put(erasedName, "yes");
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error; // no room: at the next start
  }
}
