/** What `marcoboot netinst build` left on disk: `<directory>/<arch>/netinst.json`. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Type } from "typebox";
import { Value } from "typebox/value";
import { ConfigurationError } from "../errors.ts";

const netinstSchema = Type.Object({
  arch: Type.Union([Type.Literal("amd64"), Type.Literal("arm64")]),
  kernelBytes: Type.Integer({ minimum: 1 }),
  stage1Bytes: Type.Integer({ minimum: 1 }),
  stage2Bytes: Type.Integer({ minimum: 1 }),
  stage2Digest: Type.String({ pattern: "^[0-9a-f]{64}$" }),
});

export interface NetinstSizes {
  readonly arch: "amd64" | "arm64";
  readonly kernelBytes: number;
  readonly stage1Bytes: number;
  readonly stage2Bytes: number;
  /** sha-256 of agent.squashfs, hex. */
  readonly stage2Digest: string;
}

/** Those architectures that were built; none gives an empty list. @throws ConfigurationError on a damaged file. */
export function readNetinst(directory: string): readonly NetinstSizes[] {
  return ["amd64", "arm64"].flatMap((arch) => {
    const path = join(directory, arch, "netinst.json");
    const value = readJsonFile(path);
    if (value === undefined) return [];
    if (!Value.Check(netinstSchema, value)) {
      throw new ConfigurationError(`${path} is not as netinst build writes it: build it again`);
    }
    const { kernelBytes, stage1Bytes, stage2Bytes, stage2Digest } = value;
    return [{ arch: value.arch, kernelBytes, stage1Bytes, stage2Bytes, stage2Digest }];
  });
}

function readJsonFile(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new ConfigurationError(`${path} cannot be read`, { cause });
  }
}
