/** A state directory as a server leaves it in the middle of its work, with secrets in all its places. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type ImageDigest,
  type Instant,
  type JobId,
  parseIpv4Address,
  parseMacAddress,
  type TaskId,
} from "#protocol/brand.ts";
import type { LearningRecord } from "#protocol/learning.ts";
import { createLibrary, type Library } from "../../images/library.ts";
import type { Clock } from "../../server/clock.ts";
import { openSite, type Site } from "../../server/enrol/authority.ts";
import { createEventBus } from "../../server/events.ts";
import { openLeaseFile } from "../../server/lease/lease-file.ts";
import { silentLog } from "../../server/log.ts";
import { openSecrets } from "../../server/power/secrets.ts";
import { openSshKey } from "../../server/ssh/key.ts";
import { openSqliteStore } from "../../server/store/sqlite.ts";
import type { Store } from "../../server/store/store.ts";
import { makeNode, rack } from "../http/support.ts";

/** In clear nowhere but in the memory of who gave it. */
export const outletSecret = "canary-of-an-outlet";
/** In the middle of being installed. */
export const borrowed = makeNode("a", "1", "installing");
export const lease = {
  state: "promised",
  address: parseIpv4Address("10.77.0.150"),
  mac: parseMacAddress("52:54:00:00:01:50"),
} as const;
const minute = 60_000;

export interface State {
  readonly directory: string;
  readonly site: Site;
  readonly digest: ImageDigest;
}

export function libraryOf(directory: string, store: Store, site: Site, clock: Clock): Library {
  const events = createEventBus(silentLog);
  const images = join(directory, "images");
  return createLibrary({ directory: images, store, site, clock, log: silentLog, events });
}

/** @param directory - there already, and empty */
export async function makeState(directory: string, clock: Clock): Promise<State> {
  const now = clock.now();
  const later = (now + 60 * minute) as Instant;
  const keys = join(directory, "keys");
  const site = await openSite(keys);
  await openSshKey(join(keys, "ssh.key"));
  const secrets = await openSecrets(keys);
  const store = openSqliteStore(join(directory, "marcoboot.db"));
  const library = libraryOf(directory, store, site, clock);
  const file = join(directory, "pushed");
  writeFileSync(file, "what is to be copied");
  const image = await library.add({
    path: file,
    name: "motd",
    architecture: "amd64",
    format: "file",
  });

  const settings = { url: "https://pdu.example/", outlet: "a1", secret: outletSecret };
  const outlet = secrets.seal({ driver: "webhook", settings });
  store.racks.put({ ...rack, stacks: rack.stacks.map((stack) => ({ ...stack, outlet })) });
  store.nodes.put(borrowed);
  store.nodes.put(makeNode("a", "2", "installed"));
  putInstall(store, now, image.digest);
  store.learnings.put({ id: "learning_1", rack: "lab", state: "running" } as LearningRecord);
  store.schedules.put({
    ...{ name: "weekly", at: "sun 03:00", zone: "UTC", kind: "reboot", selector: "all" },
    ...{ parameters: {}, missed: "run-once", overlap: "skip", isPaused: false },
    ...{ createdBy: "ada", createdAt: now, due: (now - minute) as Instant },
  });
  store.users.put({ name: "ada", password: "salt:hash", role: "admin", createdAt: now });
  for (const name of ["session", "grafana"]) {
    store.apiTokens.put({ hash: `hash of ${name}`, user: "ada", name, createdAt: now });
  }
  const window = { cause: "power-on", openedAt: now, expiresAt: later };
  store.tokens.put({ hash: "open", mac: borrowed.mac, ...window });
  store.approvals.put({ mac: borrowed.mac, expiresAt: later });
  const leases = await openLeaseFile(join(directory, "leases"), { clock, log: silentLog });
  await leases.append([{ ...lease, until: later }], () => []);
  await leases.close();
  await library.close();
  store.close();
  return { directory, site, digest: image.digest };
}

function putInstall(store: Store, at: Instant, image: ImageDigest): void {
  const jobId = "job_1" as JobId;
  const parameters = { image, authorizedKeys: [] };
  store.jobs.put({
    ...{ id: jobId, kind: "install", parameters, selector: "all", state: "running" },
    ...{ createdBy: "ada", createdAt: at },
  });
  const id = "task_1" as TaskId;
  const stages = { stage: "writing", stageSince: at, stageSeconds: { preparing: 1 } } as const;
  store.tasks.put({
    ...{ id, jobId, nodeId: borrowed.id, kind: "install", state: "running", epoch: 1 },
    ...{ percent: 40, createdAt: at, startedAt: at, ...stages },
  });
  store.attempts.put({ taskId: id, epoch: 1, startedAt: at });
}
