/** Makes tar archives byte by byte, also such as no honest tool would make (POSIX.1-2017 pax, ustar). */

export interface TarEntry {
  readonly path: string;
  /** `0` file, `1` hard link, `2` symbolic link, `3` character device, `4` block device, `5` directory, `6` FIFO. */
  readonly type?: string;
  readonly link?: string;
  readonly content?: string;
  /** Overrides the true length in the header. */
  readonly size?: string;
  readonly badChecksum?: boolean;
}

const block = 512;

export function tarOf(entries: readonly TarEntry[], endMarker = true): Buffer {
  const end = endMarker ? [Buffer.alloc(2 * block)] : [];
  return Buffer.concat([...entries.flatMap(blocksOf), ...end]);
}

function blocksOf(entry: TarEntry): Buffer[] {
  const content = Buffer.from(entry.content ?? "");
  const header = Buffer.alloc(block);
  const put = (at: number, text: string) => header.write(text, at, "utf8");
  put(0, entry.path);
  put(100, "0000644\0");
  put(108, "0000000\0");
  put(116, "0000000\0");
  put(124, entry.size ?? `${content.length.toString(8).padStart(11, "0")}\0`);
  put(136, "00000000000\0");
  put(148, "        ");
  put(156, entry.type ?? "0");
  put(157, entry.link ?? "");
  put(257, "ustar\u000000");
  const sum = header.reduce((total, octet) => total + octet, 0) + (entry.badChecksum ? 1 : 0);
  put(148, `${sum.toString(8).padStart(6, "0")}\0 `);
  const padding = Buffer.alloc((block - (content.length % block)) % block);
  return [header, content, padding];
}

/** A minimal root file system that is accepted. */
export const goodEntries: readonly TarEntry[] = [
  { path: "./", type: "5" },
  { path: "./bin", type: "2", link: "usr/bin" },
  { path: "./dev/null", type: "3" },
  { path: "./etc/", type: "5" },
  { path: "./etc/os-release", type: "2", link: "../usr/lib/os-release" },
  { path: "./etc/localtime", type: "2", link: "/usr/share/zoneinfo/UTC" },
  { path: "./usr/lib/os-release", content: "ID=debian\n" },
  { path: "./usr/bin/perl", content: "#!/bin/false\n" },
  { path: "./usr/bin/perl5", type: "1", link: "./usr/bin/perl" },
];
