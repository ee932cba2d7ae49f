/**
 * What agents may send, checked at the door. The limits are far above what an
 * honest agent needs and far below what could hurt. Texts are not refused for
 * odd characters, because a firmware's serial number or a tool's last words may
 * hold any: {@link cleaned} makes them harmless instead.
 */

import { type Static, Type } from "typebox";
import type { ImageDigest, TaskId } from "#protocol/brand.ts";
import { stages } from "#protocol/job.ts";
import { rootSlots } from "#protocol/root-slots.ts";
import { mostSwitchPorts } from "#protocol/switch-port.ts";

const strict = { additionalProperties: false } as const;
const text = (maxLength: number) => Type.String({ maxLength });
const literals = <const Values extends readonly string[]>(values: Values) =>
  Type.Union(values.map((value) => Type.Literal(value)));
const hexDigits = (length: number) => Type.String({ pattern: `^[0-9a-f]{${length}}$` });
const bootId = Type.String({ pattern: "^[A-Za-z0-9-]{1,64}$" });
const taskId = Type.String({ pattern: "^[A-Za-z0-9_-]{1,64}$" });
/** It becomes a word of a kernel line. */
const partitionUuid = Type.String({ pattern: "^[0-9a-f-]{1,36}$" });

const degrees = Type.Number({ minimum: -100, maximum: 1000 });

const healthSchema = Type.Object(
  {
    passed: Type.Optional(Type.Boolean()),
    wearPercent: Type.Optional(Type.Number({ minimum: 0, maximum: 255 })),
    powerOnHours: Type.Optional(Type.Number({ minimum: 0 })),
    temperatureCelsius: Type.Optional(degrees),
    faults: Type.Optional(Type.Array(text(256), { maxItems: 16 })),
  },
  strict,
);

const contentsSchema = Type.Object(
  {
    kind: literals(["blank", "known", "unknown"]),
    text: text(512),
    id: Type.Optional(text(64)),
  },
  strict,
);

const diskSchema = Type.Object(
  {
    name: Type.String({ pattern: "^[A-Za-z0-9_!-]{1,32}$" }),
    sizeBytes: Type.Integer({ minimum: 0 }),
    model: Type.Optional(text(128)),
    serial: Type.Optional(text(128)),
    removable: Type.Boolean(),
    rotational: Type.Optional(Type.Boolean()),
    health: Type.Optional(healthSchema),
    contents: Type.Optional(contentsSchema),
  },
  strict,
);

const memoryModuleSchema = Type.Object(
  {
    socket: text(128),
    sizeMiB: Type.Integer({ minimum: 1 }),
    type: Type.Optional(text(32)),
    speedMTs: Type.Optional(Type.Integer({ minimum: 1 })),
    manufacturer: Type.Optional(text(128)),
    part: Type.Optional(text(128)),
    serial: Type.Optional(text(128)),
  },
  strict,
);

const interfaceSchema = Type.Object(
  {
    name: text(32),
    mac: text(64),
    driver: Type.Optional(text(64)),
    speedMbps: Type.Optional(Type.Number({ minimum: 0 })),
  },
  strict,
);

const firmwareSchema = Type.Object(
  { name: text(64), version: text(256), date: Type.Optional(text(64)) },
  strict,
);

const hardwareSchema = Type.Object(
  {
    model: text(256),
    serial: Type.Optional(text(128)),
    uuid: Type.Optional(text(64)),
    cpuModel: Type.Optional(text(128)),
    cores: Type.Optional(Type.Integer({ minimum: 1, maximum: 4096 })),
    cpus: Type.Integer({ minimum: 1, maximum: 4096 }),
    memoryMiB: Type.Integer({ minimum: 1, maximum: 1 << 26 }),
    memoryModules: Type.Optional(Type.Array(memoryModuleSchema, { maxItems: 256 })),
    disks: Type.Array(diskSchema, { maxItems: 256 }),
    interfaces: Type.Array(interfaceSchema, { maxItems: 256 }),
    firmware: Type.Optional(Type.Array(firmwareSchema, { maxItems: 256 })),
    temperatureCelsius: Type.Optional(degrees),
  },
  strict,
);

export const enrolSchema = Type.Object(
  {
    publicKey: Type.String({ maxLength: 1024 }),
    token: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })),
    nonce: hexDigits(32),
    mac: Type.String({ maxLength: 17 }),
    architecture: literals(["amd64", "arm64"]),
    bootId,
    hardware: hardwareSchema,
  },
  strict,
);

export const renewSchema = Type.Object(
  { publicKey: Type.String({ maxLength: 1024 }), nonce: hexDigits(32) },
  strict,
);

export const checkInSchema = Type.Object(
  {
    role: literals(["netinst", "resident"]),
    version: text(32),
    bootId,
    hostname: text(253),
    uptimeSeconds: Type.Number({ minimum: 0 }),
    hardware: Type.Optional(hardwareSchema),
    usedMemoryMiB: Type.Number({ minimum: 0 }),
    program: Type.Optional(
      Type.Object(
        {
          digest: hexDigits(64),
          tried: Type.Optional(
            Type.Object({ digest: hexDigits(64), times: Type.Integer({ minimum: 1 }) }, strict),
          ),
        },
        strict,
      ),
    ),
    system: Type.Optional(
      Type.Object(
        {
          image: Type.Unsafe<ImageDigest>(hexDigits(64)),
          madeBy: Type.Unsafe<TaskId>(taskId),
          slot: Type.Optional(literals(rootSlots)),
        },
        strict,
      ),
    ),
  },
  strict,
);

export const reportSchema = Type.Object(
  {
    taskId,
    epoch: Type.Integer({ minimum: 0 }),
    bootId,
    status: literals(["running", "done", "failed"]),
    stage: literals(stages),
    percent: Type.Number({ minimum: 0, maximum: 100 }),
    bytesPerSecond: Type.Optional(Type.Number({ minimum: 0 })),
    reason: Type.Optional(text(65536)),
    retryable: Type.Optional(Type.Boolean()),
    log: Type.Optional(Type.Array(text(65536), { maxItems: 500 })),
    sshHostKeys: Type.Optional(Type.Array(text(256), { maxItems: 16 })),
    disk: Type.Optional(
      Type.Object(
        {
          name: text(32),
          serial: Type.Optional(text(128)),
          contentsId: Type.Optional(text(64)),
          slots: Type.Optional(
            Type.Object(
              {
                active: literals(rootSlots),
                rootBytes: Type.Integer({ minimum: 0 }),
                data: text(4095),
                bootloader: literals(["grub", "raspberry-pi"]),
                roots: Type.Optional(Type.Object({ a: partitionUuid, b: partitionUuid }, strict)),
              },
              strict,
            ),
          ),
        },
        strict,
      ),
    ),
    hardware: Type.Optional(hardwareSchema),
    burnIn: Type.Optional(
      Type.Object(
        {
          seconds: Type.Number({ minimum: 0 }),
          results: Type.Array(
            Type.Object({ part: text(64), passed: Type.Boolean(), text: text(2000) }, strict),
            { maxItems: 300 },
          ),
        },
        strict,
      ),
    ),
  },
  strict,
);

export const assignmentQuerySchema = Type.Object(
  {
    /** Seconds the server may hold the request. */
    wait: Type.Integer({ minimum: 0, maximum: 30, default: 0 }),
    /** `<task>:<epoch>:<action>` of the assignment the agent is at. */
    known: Type.Optional(Type.String({ maxLength: 128, pattern: "^[A-Za-z0-9_:-]+$" })),
  },
  strict,
);

export const agentParamsSchema = Type.Object({ digest: hexDigits(64) }, strict);
const octetCount = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
export const captureQuerySchema = Type.Object(
  { task: taskId, epoch: Type.Integer({ minimum: 1 }), boot: bootId, at: octetCount },
  strict,
);
export const captureEndSchema = Type.Object(
  {
    ...{ taskId, epoch: Type.Integer({ minimum: 1 }), bootId },
    ...{ octets: octetCount, digest: hexDigits(64) },
  },
  strict,
);

const amount = Type.Number({ minimum: 0 });
export const loadSchema = Type.Object(
  {
    cpuPercent: Type.Number({ minimum: 0, maximum: 100 }),
    loadAverage: amount,
    memoryUsedMiB: amount,
    memoryMiB: amount,
    temperature: Type.Optional(Type.Number({ minimum: -50, maximum: 200 })),
    received: amount,
    sent: amount,
    uptimeSeconds: amount,
  },
  strict,
);

export const switchPortsSchema = Type.Object(
  {
    heard: Type.Array(
      Type.Object(
        {
          protocol: literals(["lldp", "cdp"]),
          // an id has 255 octets, and twice as many digits where it is no text
          chassis: text(512),
          port: text(512),
          description: Type.Optional(text(256)),
          system: Type.Optional(text(256)),
        },
        strict,
      ),
      { minItems: 1, maxItems: mostSwitchPorts },
    ),
  },
  strict,
);

export type LoadBody = Static<typeof loadSchema>;
export type EnrolBody = Static<typeof enrolSchema>;
export type RenewBody = Static<typeof renewSchema>;
export type CheckInBody = Static<typeof checkInSchema>;
export type ReportBody = Static<typeof reportSchema>;
export type SwitchPortsBody = Static<typeof switchPortsSchema>;
export type AgentParams = Static<typeof agentParamsSchema>;
export type CaptureQuery = Static<typeof captureQuerySchema>;
export type CaptureEndBody = Static<typeof captureEndSchema>;
export type AssignmentQuery = Static<typeof assignmentQuerySchema>;

/** A line of a log or a reason is cut after so many characters, not refused: the rest still counts. */
const maxKept = 2000;

/** The same value with every control character (C0, DEL, C1) in its texts made a space, and long texts cut. */
export function cleaned<T>(value: T): T {
  return JSON.parse(JSON.stringify(value), (_key, member: unknown) =>
    typeof member === "string" ? member.slice(0, maxKept).replaceAll(/\p{Cc}/gu, " ") : member,
  ) as T;
}
