/** The image library: list, upload, delete. */

import { randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Context } from "koa";
import { Type } from "typebox";
import { type ImageDigest, parseImageDigest } from "#protocol/brand.ts";
import { type Image, imageFormats } from "#protocol/image.ts";
import { refuseWithoutRoom } from "../../../images/room.ts";
import { createAudit, refusalOf } from "../../audit/audit.ts";
import type { Config } from "../../config.ts";
import { InvalidInputError, NotFoundError } from "../../errors.ts";
import { absolutePath, check } from "../../job/parameters.ts";
import { chunksOf, forgetRest } from "../body.ts";
import { problemOf } from "../problem.ts";
import { type Route, route } from "../route.ts";
import { imageSchema, oneOf, pageOf } from "../schemas.ts";
import type { Admin } from "../services.ts";

const digestParams = Type.Object({ digest: Type.String({ pattern: "^[0-9a-f]{64}$" }) });
const progressType = "application/x-ndjson";

const addQuery = Type.Object(
  {
    name: Type.String({ pattern: "^[a-z0-9][a-z0-9._-]{0,62}$" }),
    architecture: oneOf(["amd64", "arm64"]),
    format: Type.Optional(oneOf(imageFormats)),
    bootloader: Type.Optional(oneOf(["grub", "raspberry-pi", "none"])),
    digest: Type.Optional(Type.String({ pattern: "^[0-9a-f]{64}$" })),
    /** Of a root file system: two root slots of so many MiB, and a data partition. */
    rootMiB: Type.Optional(Type.Integer({ minimum: 1, maximum: 1 << 24 })),
    /** Where the data partition is mounted. */
    data: Type.Optional(Type.String({ pattern: "^(/[A-Za-z0-9._-]{1,64}){1,8}$" })),
    /** What an update carries over; commas between. */
    keep: Type.Optional(Type.String({ maxLength: 4096 })),
  },
  { additionalProperties: false },
);

type AddQuery = Omit<Parameters<Admin["library"]["add"]>[0], "path" | "expectedDigest"> & {
  readonly digest?: string;
};

/** Where uploads lie until the library has taken them; emptied at each start. */
export function uploadsDirectory(config: Pick<Config, "stateDirectory">): string {
  return join(config.stateDirectory, "uploads");
}

/** Streams the body to a file of its own, has the library take it in, and removes the file. */
async function takeIn(
  request: IncomingMessage,
  { digest, ...described }: AddQuery,
  admin: Admin,
  onProgress: (percent: number) => void,
): Promise<Image> {
  const directory = uploadsDirectory(admin.config);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  // Twice: the upload, and the library's own copy of it.
  await refuseWithoutRoom(directory, 2 * Number(request.headers["content-length"] ?? 0));
  const path = join(directory, randomUUID());
  try {
    const file = createWriteStream(path, { mode: 0o600 });
    await pipeline(chunksOf(request, admin.clock), file);
    if (file.bytesWritten === 0) throw new InvalidInputError("the body is empty");
    return await admin.library.add(
      { path, ...described, ...(digest !== undefined && { expectedDigest: digest }) },
      onProgress,
    );
  } finally {
    await rm(path, { force: true });
  }
}

interface Upload {
  readonly work: (onProgress: (percent: number) => void) => Promise<Image>;
  readonly onRefused: (error: unknown) => void;
}

/** For clients that ask for it: `{"percent":n}` lines, then `{"image":…}` or `{"problem":…}`. */
function answerWithProgress(koa: Context, admin: Admin, { work, onRefused }: Upload): PassThrough {
  const lines = new PassThrough();
  const write = (value: unknown) => void lines.write(`${JSON.stringify(value)}\n`);
  let last = -1;
  koa.status = 200;
  koa.type = progressType;
  const run = async () => {
    try {
      const image = await work((percent) => {
        if (Math.floor(percent) === last) return;
        last = Math.floor(percent);
        write({ percent: last });
      });
      write({ image });
    } catch (error) {
      admin.log.warn({ err: error }, "image not taken");
      onRefused(error);
      write({ problem: problemOf(error, koa.path) });
      await forgetRest(koa.req, admin.clock);
    }
    lines.end();
  };
  void run();
  return lines;
}

export const imageRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/images",
    role: "viewer",
    name: "list-images",
    summary: "Images in the library",
    response: pageOf(imageSchema),
    handler: (_request, { library }) => ({ items: library.list() }),
  }),
  route({
    method: "get",
    path: "/api/v1/images/:digest",
    role: "viewer",
    name: "get-image",
    summary: "One image",
    params: digestParams,
    response: imageSchema,
    handler: ({ params }, { library }) => {
      const image = library.get(parseImageDigest(params.digest));
      if (!image) throw new NotFoundError(`no image ${params.digest}`);
      return image;
    },
  }),
  route({
    method: "post",
    path: "/api/v1/images",
    role: "admin",
    name: "add-image",
    summary: "Upload an image; with `Accept: application/x-ndjson` progress is told line by line",
    status: 201,
    query: addQuery,
    bodyKind: "stream",
    response: imageSchema,
    isAuditedByRoom: true, // below: an upload with progress ends after its handler
    target: ({ query }) => query.name,
    handler: ({ query, koa, who }, admin) => {
      const audit = createAudit(admin);
      const { format, bootloader, digest, name, architecture, rootMiB, data } = query;
      const kept = query.keep?.split(",").map((one) => one.trim());
      const keep = kept && check(Type.Array(absolutePath, { maxItems: 64 }), kept, "keep");
      if (data !== undefined && rootMiB === undefined) {
        throw new InvalidInputError(`data partition ${data} without root slots`, [
          { pointer: "/rootMiB", detail: "give the size of a root slot in MiB" },
        ]);
      }
      const described: AddQuery = {
        name,
        architecture,
        ...(format && { format }),
        ...(bootloader && { bootloader }),
        ...(digest !== undefined && { digest }),
        ...(rootMiB !== undefined && { slots: { rootMiB, data: data ?? "/srv" } }),
        ...(keep && { keep }),
      };
      const work = async (onProgress: (percent: number) => void) => {
        const image = await takeIn(koa.req, described, admin, onProgress);
        audit.append(who, "add-image", name, image.digest);
        return image;
      };
      if (koa.get("Accept") === progressType) {
        const onRefused = (error: unknown) =>
          audit.append(who, "add-image", name, refusalOf(error));
        return answerWithProgress(koa, admin, { work, onRefused });
      }
      return work(() => undefined);
    },
  }),
  route({
    method: "delete",
    path: "/api/v1/images/:digest",
    role: "admin",
    name: "delete-image",
    summary: "Delete an image; refused while a job installs it",
    params: digestParams,
    status: 204,
    target: ({ params }) => params.digest,
    handler: async ({ params }, { library }) => {
      await library.remove(params.digest as ImageDigest);
    },
  }),
];
