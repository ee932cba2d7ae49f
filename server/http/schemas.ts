/**
 * The shapes the API answers with, for `/api/openapi.json`. The types of
 * `#protocol` are the truth; `Fits` makes the compiler refuse a schema that
 * asks for a member they do not have.
 */

import { type Static, type TSchema, Type } from "typebox";
import { firmwareNames } from "#protocol/firmware.ts";
import { compressions, type Image, imageFormats } from "#protocol/image.ts";
import { type Job, jobKinds, stages, type Task, taskStates } from "#protocol/job.ts";
import { type Node, nodeStates } from "#protocol/node.ts";
import { occasions, type StoredNotice } from "#protocol/notice.ts";
import type { Rack } from "#protocol/rack.ts";
import { rootSlots } from "#protocol/root-slots.ts";
import type { Finding } from "#protocol/timeline.ts";
import { rolloutSchema } from "../job/rollout.ts";
import { ruleSchema } from "../rule/rule.ts";
import type { AuditEntry, LeaseRow, Reservation } from "../store/store.ts";

/** One of a closed list of words. */
export function oneOf<const Words extends readonly string[]>(words: Words, usual?: Words[number]) {
  const schema = { type: "string", enum: words };
  return Type.Unsafe<Words[number]>(usual === undefined ? schema : { ...schema, default: usual });
}

const text = Type.String();
const flag = Type.Boolean();
const digest = Type.String({ pattern: "^[0-9a-f]{64}$" });
/** Milliseconds since 1970. */
const time = Type.Number();

export const nameSchema = Type.String({ pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$" });
export const hostnameSchema = Type.String({ pattern: "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$" });
export const selectorSchema = Type.String({ minLength: 1, maxLength: 2000 });

export const slotSchema = Type.Object({ rack: nameSchema, stack: nameSchema, slot: nameSchema });

/** As in the protocol's types, which nobody changes. */
function listOf<Item extends TSchema>(item: Item) {
  return Type.Unsafe<readonly Static<Item>[]>(Type.Array(item));
}

export const protectionSchema = Type.Object({ reason: text, by: text, at: time });

const diskSchema = Type.Object({
  name: text,
  sizeBytes: Type.Number(),
  removable: flag,
  serial: Type.Optional(text),
  model: Type.Optional(text),
  health: Type.Optional(
    Type.Object({
      passed: Type.Optional(flag),
      wearPercent: Type.Optional(Type.Number()),
      powerOnHours: Type.Optional(Type.Number()),
      temperatureCelsius: Type.Optional(Type.Number()),
      faults: Type.Optional(listOf(text)),
    }),
  ),
  contents: Type.Optional(
    Type.Object({ kind: oneOf(["blank", "known", "unknown"]), text, id: Type.Optional(text) }),
  ),
  protection: Type.Optional(protectionSchema),
});

const hardwareSchema = Type.Object({
  model: text,
  cpuModel: Type.Optional(text),
  cores: Type.Optional(Type.Number()),
  cpus: Type.Number(),
  memoryMiB: Type.Number(),
  memoryModules: Type.Optional(
    listOf(Type.Object({ socket: text, sizeMiB: Type.Number(), serial: Type.Optional(text) })),
  ),
  disks: listOf(diskSchema),
  interfaces: listOf(
    Type.Object({
      name: text,
      mac: text,
      driver: Type.Optional(text),
      speedMbps: Type.Optional(Type.Number()),
    }),
  ),
  firmware: Type.Optional(
    listOf(Type.Object({ name: text, version: text, date: Type.Optional(text) })),
  ),
  temperatureCelsius: Type.Optional(Type.Number()),
});

export const nodeSchema = Type.Object({
  id: text,
  name: text,
  mac: text,
  state: oneOf(nodeStates),
  reason: Type.Optional(text),
  quarantined: flag,
  power: oneOf(["on", "off", "unknown"]),
  connection: oneOf(["online", "offline"]),
  architecture: Type.Optional(oneOf(["amd64", "arm64"])),
  firmware: Type.Optional(oneOf(firmwareNames)),
  slot: Type.Optional(slotSchema),
  address: Type.Optional(text),
  agent: Type.Optional(
    Type.Object({
      role: oneOf(["netinst", "resident"]),
      version: text,
      bootId: text,
      hostname: text,
      address: text,
      since: time,
      lastSeen: time,
      program: Type.Optional(
        Type.Object({
          digest: text,
          tried: Type.Optional(Type.Object({ digest: text, times: Type.Integer() })),
        }),
      ),
    }),
  ),
  hardware: Type.Optional(hardwareSchema),
  switchPorts: Type.Optional(
    Type.Object({
      heard: listOf(
        Type.Object({
          protocol: oneOf(["lldp", "cdp"]),
          chassis: text,
          port: text,
          description: Type.Optional(text),
          system: Type.Optional(text),
        }),
      ),
      at: time,
      bootId: text,
    }),
  ),
  tags: Type.Optional(listOf(text)),
  protection: Type.Optional(protectionSchema),
  rule: Type.Optional(
    Type.Object({
      name: Type.Optional(text),
      text,
      at: time,
      jobId: Type.Optional(text),
    }),
  ),
  burnIn: Type.Optional(
    Type.Object({
      at: time,
      seconds: Type.Number(),
      results: listOf(Type.Object({ part: text, passed: flag, text })),
    }),
  ),
  image: Type.Optional(text),
  installedDisk: Type.Optional(
    Type.Object({
      name: text,
      serial: Type.Optional(text),
      slots: Type.Optional(
        Type.Object({ active: oneOf(rootSlots), rootBytes: Type.Integer(), data: text }),
      ),
    }),
  ),
  createdAt: time,
  updatedAt: time,
});

export const taskSchema = Type.Object({
  id: text,
  jobId: text,
  nodeId: text,
  kind: oneOf(jobKinds),
  state: oneOf(taskStates),
  epoch: Type.Integer(),
  stage: Type.Optional(oneOf(stages)),
  percent: Type.Number(),
  bytesPerSecond: Type.Optional(Type.Number()),
  reason: Type.Optional(text),
  batch: Type.Optional(Type.Integer()),
  createdAt: time,
  startedAt: Type.Optional(time),
  endedAt: Type.Optional(time),
});

export const jobSchema = Type.Object({
  id: text,
  kind: oneOf(jobKinds),
  state: oneOf(taskStates),
  selector: text,
  createdBy: text,
  why: Type.Optional(text),
  notBefore: Type.Optional(time),
  zone: Type.Optional(text),
  deadline: Type.Optional(time),
  window: Type.Optional(text),
  after: Type.Optional(Type.Unsafe<readonly string[]>({ type: "array", items: text })),
  rollout: Type.Optional(rolloutSchema),
  paused: Type.Optional(Type.Object({ at: time, by: text, reason: text })),
  /** What was found of the batch whose nodes were asked last; no `endedAt`: they are being asked. */
  health: Type.Optional(
    Type.Object({
      batch: Type.Integer(),
      jobs: listOf(text),
      endedAt: Type.Optional(time),
      healthy: Type.Optional(Type.Integer()),
      of: Type.Optional(Type.Integer()),
    }),
  ),
  healthOf: Type.Optional(text),
  waitsFor: Type.Optional(text),
  cancelledBy: Type.Optional(text),
  schedule: Type.Optional(text),
  retryOf: Type.Optional(text),
  createdAt: time,
  endedAt: Type.Optional(time),
});

export const windowSchema = Type.Object({
  name: text,
  effect: oneOf(["allows", "forbids"]),
  opens: text,
  minutes: Type.Integer(),
  zone: text,
  /** There while it is open. */
  openUntil: Type.Optional(time),
  next: Type.Array(time),
});

export const scheduleSchema = Type.Object({
  name: text,
  at: text,
  zone: text,
  kind: oneOf(jobKinds),
  selector: text,
  parameters: Type.Record(Type.String(), Type.Unknown()),
  window: Type.Optional(text),
  rollout: Type.Optional(rolloutSchema),
  withinMinutes: Type.Optional(Type.Integer()),
  missed: oneOf(["skip", "run-once"]),
  overlap: oneOf(["skip", "queue"]),
  isPaused: flag,
  createdBy: text,
  createdAt: time,
  due: Type.Optional(time),
  last: Type.Optional(
    Type.Object({ due: time, jobId: Type.Optional(text), reason: Type.Optional(text) }),
  ),
  next: Type.Array(time),
});

export const imageSchema = Type.Object({
  name: text,
  architecture: oneOf(["amd64", "arm64"]),
  format: oneOf(imageFormats),
  compression: oneOf(compressions),
  digest,
  sizeBytes: Type.Integer(),
  storedBytes: Type.Integer(),
  bootloader: oneOf(["grub", "raspberry-pi", "none"]),
  slots: Type.Optional(Type.Object({ rootMiB: Type.Integer(), data: text })),
  keep: Type.Optional(listOf(text)),
  origin: Type.Optional(Type.Object({ nodeId: text, name: text, jobId: text })),
  isMissing: Type.Optional(Type.Literal(true)),
  createdAt: time,
});

const outletSchema = Type.Object({
  driver: text,
  settings: Type.Record(text, Type.Unknown()),
});

export const rackSchema = Type.Object({
  name: text,
  subnet: Type.Optional(text),
  hostnames: Type.Optional(text),
  addresses: Type.Optional(Type.Object({ first: text, perStack: Type.Optional(Type.Integer()) })),
  power: Type.Optional(
    Type.Object({
      onAtOnce: Type.Optional(Type.Integer()),
      onEverySeconds: Type.Optional(Type.Number()),
      offSeconds: Type.Optional(Type.Number()),
    }),
  ),
  rules: Type.Optional(Type.Array(ruleSchema)),
  stacks: Type.Array(
    Type.Object({
      name: text,
      x: Type.Number(),
      y: Type.Number(),
      subnet: Type.Optional(text),
      firstAddress: Type.Optional(text),
      outlet: Type.Optional(outletSchema),
      slots: Type.Array(
        Type.Object({
          name: text,
          hostname: text,
          address: Type.Optional(text),
          port: Type.Optional(text),
          outlet: Type.Optional(outletSchema),
        }),
      ),
    }),
  ),
});

export const leaseSchema = Type.Object({
  address: text,
  mac: text,
  state: oneOf(["offered", "bound", "declined"]),
  until: time,
});

export const reservationSchema = Type.Object({
  mac: text,
  address: text,
  hostname: Type.Optional(text),
  slot: Type.Optional(slotSchema),
  createdAt: time,
});

export const auditSchema = Type.Object({
  id: Type.Integer(),
  at: time,
  who: text,
  what: text,
  target: text,
  detail: Type.Optional(text),
});

export const findingSchema = Type.Object({
  code: text,
  severity: oneOf(["problem", "hint", "ok"]),
  text,
  remedy: Type.Optional(text),
});

export const noticeSchema = Type.Object({
  id: Type.Number(),
  channel: text,
  notice: Type.Object({
    occasion: oneOf([...occasions, "test"]),
    key: text,
    at: time,
    subject: text,
    text,
  }),
  failures: Type.Number(),
  nextAt: Type.Optional(time),
  sentAt: Type.Optional(time),
  reason: Type.Optional(text),
});

/** A page of a list; `next` is what to pass as `after`. */
export function pageOf(item: TSchema): TSchema {
  return Type.Object({ items: Type.Array(item), next: Type.Optional(text) });
}

type Fits<Shape, Schema extends TSchema> = Shape extends Static<Schema> ? true : never;
export const shapesFit: readonly [
  Fits<Node, typeof nodeSchema>,
  Fits<Task, typeof taskSchema>,
  Fits<Job, typeof jobSchema>,
  Fits<Image, typeof imageSchema>,
  Fits<LeaseRow, typeof leaseSchema>,
  Fits<Reservation, typeof reservationSchema>,
  Fits<AuditEntry, typeof auditSchema>,
  Fits<StoredNotice, typeof noticeSchema>,
  Fits<Finding, typeof findingSchema>,
  Rack["name"] extends string ? true : never,
] = [true, true, true, true, true, true, true, true, true, true];
