/**
 * Sets extended attributes (xattr(7)), by Node's own `node:ffi`: Node's file calls have none.
 */

export interface ExtendedAttribute {
  /** Of what has it, in octets; symbolic links are not followed. */
  readonly path: Buffer;
  /** With its name space: `security.capability`. */
  readonly name: string;
  readonly value: Buffer;
}

/** @returns whether the file system has taken it */
export type SetAttribute = (attribute: ExtendedAttribute) => boolean;

/** Where `node:ffi` is missing nothing is ever taken. */
export async function openAttributes(): Promise<SetAttribute> {
  try {
    const { dlopen } = await import("node:ffi");
    const { functions: c } = dlopen("libc.so.6", {
      lsetxattr: { arguments: ["buffer", "buffer", "buffer", "u64", "i32"], return: "i32" },
    });
    return ({ path, name, value }) =>
      c.lsetxattr(
        terminated(path),
        terminated(Buffer.from(name, "latin1")),
        value,
        BigInt(value.length),
        0,
      ) === 0;
  } catch {
    return () => false;
  }
}

function terminated(octets: Buffer): Buffer {
  return Buffer.concat([octets, Buffer.of(0)]);
}
